import { expect, it } from 'vitest';
import { inFiles, inModules } from './aliases.js';

const ALIASES = {
  lm_head: 'embed_out',
  'm.layers.{n}.q': 'm.layer.{n}.attention.query',
  'm.layers.{n}.gate': { file: 'm.layer.{n}.in', at: 0, of: 2 },
  'm.layers.{n}.up': { file: 'm.layer.{n}.in', at: 1, of: 2 },
};

it.each([
  ['lm_head', 'embed_out', 0, 1],
  ['m.layers.12.q', 'm.layer.12.attention.query', 0, 1],
  ['m.layers.3.up', 'm.layer.3.in', 1, 2],
  ['m.norm', 'm.norm', 0, 1],
])('%s is %s in files', (path, file, at, of) => {
  expect(inFiles(ALIASES, path)).toEqual({ file, at, of });
  expect(inModules(ALIASES, file)).toContainEqual({ path, file, at, of });
});

it('maps one tensor to several modules', () =>
  expect(inModules(ALIASES, 'm.layer.0.in').map(({ path }) => path)).toEqual([
    'm.layers.0.gate',
    'm.layers.0.up',
  ]));
