import type { ModelObject } from '@graft/contracts';
import { expect, it } from 'vitest';
import { modelLists } from './model-lists.js';

const model = (id: string, created: number, graft: Partial<ModelObject['graft']>): ModelObject =>
  ({ id, object: 'model', created, owned_by: 'graft', graft }) as ModelObject;

const MODELS = [
  model('tiny', 1, { kind: 'base', family: 'llama', status: 'ready' }),
  model('broken', 2, { kind: 'base', family: null, status: 'error' }),
  model('ft:tiny:org:pirate:1a2b3c4d', 3, { kind: 'adapter', base: 'tiny', status: 'ready' }),
  model('ft:tiny:org:sailor:5e6f7a8b', 4, { kind: 'full', base: 'tiny', status: 'ready' }),
  model('pirate-gguf', 5, { kind: 'export', status: 'ready' }),
];
const ids = (models: readonly ModelObject[]) => models.map(({ id }) => id);

it('groups models by kind, newest first, and separates failed imports', () => {
  const { bases, failed, tuned, exports } = modelLists(MODELS);
  expect(ids(bases)).toEqual(['tiny']);
  expect(ids(failed)).toEqual(['broken']);
  expect(ids(tuned)).toEqual(['ft:tiny:org:sailor:5e6f7a8b', 'ft:tiny:org:pirate:1a2b3c4d']);
  expect(ids(exports)).toEqual(['pirate-gguf']);
});

it('finds models by their title, base and family', () => {
  expect(ids(modelLists(MODELS, 'Pirate 1a2b').tuned)).toEqual(['ft:tiny:org:pirate:1a2b3c4d']);
  expect(ids(modelLists(MODELS, 'llama').bases)).toEqual(['tiny']);
  expect(modelLists(MODELS, 'nothing').tuned).toEqual([]);
});
