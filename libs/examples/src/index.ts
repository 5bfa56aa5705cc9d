import type { Example } from './example.js';
import { imagesExample } from './images/images-example.js';
import { mailExample } from './mail/mail-example.js';
import { audioExample } from './audio/audio-example.js';

export type * from './example.js';

/** Examples of `graft up --example`. The first one is the default. */
export const EXAMPLES = [mailExample, imagesExample, audioExample] as const satisfies readonly {
  readonly name: string;
}[];

export const exampleNames = EXAMPLES.map(({ name }) => name);

export const exampleNamed = (name: string): Example =>
  EXAMPLES.find((one) => one.name === name) as unknown as Example;
