import { describe, expect, it } from 'vitest';
import type { TargetFields } from './targets.js';
import { tie } from './weight-tying.js';

const EMBEDDING = { path: 'model.embed_tokens' };
const HEAD = { path: 'lm_head', role: 'head' } as const;
const QUERY = { path: 'model.layers.0.q_proj', role: 'q' } as const;

function tied(fields: Partial<TargetFields>, isTied = true) {
  const modules = {
    linears: () => [QUERY, HEAD],
    norms: () => [],
    embeddings: () => [EMBEDDING],
    tokenEmbedding: EMBEDDING,
    experts: () => [],
    tied: () => (isTied ? ([[HEAD, EMBEDDING]] as const) : []),
  };
  const asked = {
    target_modules: ['q_proj'],
    modules_to_save: null,
    ensure_weight_tying: true,
    ...fields,
  };
  const { options, pairs } = tie(modules, asked);
  return [options.modules_to_save, pairs.length] as const;
}

describe('trained names, and tied pairs', () => {
  it.each<[string, Partial<TargetFields>, ReturnType<typeof tied>]>([
    ['the embedding', { modules_to_save: ['embed_tokens'] }, [['embed_tokens', EMBEDDING.path], 1]],
    ['the head', { modules_to_save: ['lm_head'] }, [[EMBEDDING.path], 1]],
    [
      'both',
      { modules_to_save: ['embed_tokens', 'lm_head'] },
      [['embed_tokens', EMBEDDING.path], 1],
    ],
    [
      'as files have it',
      { modules_to_save: ['embed_tokens', EMBEDDING.path] },
      [['embed_tokens', EMBEDDING.path], 1],
    ],
    ['another module', { modules_to_save: ['norm'] }, [['norm'], 0]],
    ['nothing', {}, [null, 0]],
    [
      'not asked for',
      { modules_to_save: ['lm_head'], ensure_weight_tying: false },
      [['lm_head'], 0],
    ],
  ])('%s', (_, fields, expected) => expect(tied(fields)).toEqual(expected));

  it('of a model without tied weights', () => {
    expect(tied({ modules_to_save: ['lm_head'] }, false)).toEqual([['lm_head'], 0]);
    expect(tied({ target_modules: ['lm_head'] }, false)).toEqual([null, 0]);
  });
});

it.each([['lm_head'], ['embed_tokens']])('rejects updates of %s', (name) => {
  expect(() => tied({ target_modules: ['q_proj', name] })).toThrow(
    /ensure_weight_tying applies to modules_to_save and trainable_token_indices/,
  );
});
