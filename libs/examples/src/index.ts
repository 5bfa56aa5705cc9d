import type { Example } from './example.js';
import { imagesExample } from './images/images-example.js';
import { mailExample } from './mail/mail-example.js';
import { soundsExample } from './sounds/sounds-example.js';

export type * from './example.js';

/** The first is trained when none is named. */
export const EXAMPLES = [mailExample, imagesExample, soundsExample] as const satisfies readonly {
  readonly name: string;
}[];

export const exampleNames = EXAMPLES.map(({ name }) => name);

export const exampleNamed = (name: string): Example =>
  EXAMPLES.find((one) => one.name === name) as unknown as Example;
