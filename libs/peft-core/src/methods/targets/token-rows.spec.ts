import { DomainError } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { chosenRows, refuseTwice } from './token-rows.js';
import type { TokenChoice } from './token-rows.js';

const EMBEDDING = { path: 'model.embed_tokens' };
const HEAD = { path: 'lm_head', role: 'head' } as const;

const chosen = (choice: TokenChoice, tied = false) =>
  chosenRows(
    {
      linears: () => [HEAD],
      tokenEmbedding: EMBEDDING,
      tied: () => (tied ? [[HEAD, EMBEDDING]] : []),
    },
    choice,
    50,
    'token_indices',
  ).map(({ path, ids, heads }) => [path, ids, heads.length] as const);

describe('rows of the vocabulary', () => {
  it.each<[string, TokenChoice, boolean, ReturnType<typeof chosen>]>([
    ['a list: the embedding', [3, 1], false, [['model.embed_tokens', [3, 1], 0]]],
    ['a list, and a tied head follows', [3, 1], true, [['model.embed_tokens', [3, 1], 1]]],
    ['the head alone', { lm_head: [2] }, true, [['lm_head', [2], 1]]],
    [
      'both',
      { embed_tokens: [3], lm_head: [2] },
      false,
      [
        ['model.embed_tokens', [3], 0],
        ['lm_head', [2], 1],
      ],
    ],
    [
      'the same tokens of tied modules: one',
      { embed_tokens: [3], lm_head: [3] },
      true,
      [['model.embed_tokens', [3], 1]],
    ],
    [
      'different tokens of tied modules: two',
      { embed_tokens: [3], lm_head: [2] },
      true,
      [
        ['model.embed_tokens', [3], 0],
        ['lm_head', [2], 1],
      ],
    ],
  ])('%s', (_, choice, tied, rows) => expect(chosen(choice, tied)).toEqual(rows));

  it('accepts the maximum number of tokens quickly', () => {
    const ids = Array.from({ length: 100_000 }, (_, id) => id);
    const embedding = { linears: () => [HEAD], tokenEmbedding: EMBEDDING, tied: () => [] };
    expect(chosenRows(embedding, ids, ids.length, 'token_indices')[0]?.ids).toHaveLength(100_000);
  });

  it.each<[string, TokenChoice, RegExp]>([
    ['none', [], /the list has no tokens/],
    ['a token twice', [4, 7, 4], /token 4 is listed twice/],
    ['a token beyond the vocabulary', [4, 50], /token 50 is outside the vocabulary of 50 tokens/],
    ['another module', { q_proj: [1] }, /lists "q_proj".*model.embed_tokens, lm_head/],
  ])('rejects %s', (_, choice, message) => {
    expect(() => chosen(choice)).toThrow(message);
    expect(() => chosen(choice)).toThrow(DomainError);
  });

  it('rejects a module that is also trained in another way', () => {
    expect(() => refuseTwice([EMBEDDING], ['lm_head'], 'token_indices')).not.toThrow();
    expect(() => refuseTwice([EMBEDDING], ['model.embed_tokens'], 'token_indices')).toThrow(
      /rows of model.embed_tokens, which is in target_modules or modules_to_save too/,
    );
  });
});
