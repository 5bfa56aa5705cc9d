import { imagesExample } from './images-example.js';
import type { ExampleKind } from './kind.js';
import { mailExample } from './mail-example.js';
import { soundsExample } from './sounds-example.js';

/** The first is trained where none is named. */
export const EXAMPLES = [mailExample, imagesExample, soundsExample] as const satisfies readonly {
  readonly name: string;
}[];

export const exampleNames = EXAMPLES.map(({ name }) => name);

export const exampleNamed = (name: string): ExampleKind =>
  EXAMPLES.find((one) => one.name === name) as unknown as ExampleKind;
