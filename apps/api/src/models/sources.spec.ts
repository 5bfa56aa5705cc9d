import { resolve } from 'node:path';
import { expect, it } from 'vitest';
import { nameOrPath } from './sources.js';

it.each([
  ['hub:HuggingFaceTB/SmolLM2-135M', 'HuggingFaceTB/SmolLM2-135M'],
  ['dir:/models/smol.gguf', '/models/smol.gguf'],
  ['dir:examples/tiny-base/', resolve('examples/tiny-base')],
  [null, 'smol'],
])('PEFT finds a base from %s as %s', (source, name) => {
  expect(nameOrPath({ id: 'smol', source })).toBe(name);
});
