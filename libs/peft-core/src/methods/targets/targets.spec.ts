import { zeros } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { Embedding } from '../../nn/layers/embedding.js';
import { Linear } from '../../nn/layers/linear.js';
import type { Role } from '../../nn/layers/linear.js';
import { Modules } from '../../nn/sites/modules.js';
import { Norm } from '../../nn/layers/norm.js';
import { Slot } from '../../nn/sites/slots.js';
import { DenseWeight } from '../../nn/weight.js';
import { checkTargets, findTargets, targetLinears, writtenTargets } from './targets.js';
import type { TargetFields } from './targets.js';

const NOTHING: TargetFields = {
  target_modules: null,
  exclude_modules: null,
  layers_to_transform: null,
  layers_pattern: null,
  modules_to_save: null,
};

function modules(layers: number): Modules {
  const names: readonly [string, Role][] = [
    ['self_attn.q_proj', 'q'],
    ['self_attn.v_proj', 'v'],
    ['self_attn.o_proj', 'o'],
    ['mlp.down_proj', 'down'],
  ];
  const linear = (path: string, role: Role, layer: number | null): Linear =>
    new Linear({
      path,
      role,
      layer,
      index: 0,
      weight: new DenseWeight(zeros([2, 2])),
      bias: null,
      transposed: false,
    });
  const linears = Array.from({ length: layers }, (_, n) =>
    names.map(([name, role]) => linear(`model.layers.${n}.${name}`, role, n)),
  ).flat();
  const tokenEmbedding = new Embedding('model.embed_tokens', zeros([4, 2]));
  return new Modules({
    linears: [...linears, linear('lm_head', 'head', null)],
    norms: [new Norm('model.norm', 'rms', 1e-5, zeros([2]), null)],
    embeddings: [tokenEmbedding],
    tokenEmbedding,
    tied: [],
    stacks: [
      {
        inputs: new Slot(),
        prefix: new Slot(),
        invocation: new Slot(),
        attention: new Slot(),
        side: new Slot(),
        scaling: new Slot(),
      },
    ],
  });
}

const picked = (fields: Partial<TargetFields>, layers = 2): string[] =>
  targetLinears(modules(layers), { ...NOTHING, ...fields }, ['q', 'v']).map(({ path }) =>
    path.replace('model.layers.', ''),
  );

describe('target_modules', () => {
  it.each<[string, Partial<TargetFields>, string[]]>([
    [
      'nothing: the default roles',
      {},
      ['0.self_attn.q_proj', '0.self_attn.v_proj', '1.self_attn.q_proj', '1.self_attn.v_proj'],
    ],
    ['suffixes', { target_modules: ['o_proj'] }, ['0.self_attn.o_proj', '1.self_attn.o_proj']],
    ['longer suffixes', { target_modules: ['0.mlp.down_proj'] }, ['0.mlp.down_proj']],
    [
      'no part of a segment',
      { target_modules: ['proj', 'o_proj'] },
      ['0.self_attn.o_proj', '1.self_attn.o_proj'],
    ],
    [
      'a pattern for the whole path',
      { target_modules: String.raw`.*\.1\..*(q|o)_proj` },
      ['1.self_attn.q_proj', '1.self_attn.o_proj'],
    ],
    ['layers', { target_modules: ['q_proj'], layers_to_transform: 1 }, ['1.self_attn.q_proj']],
    [
      'layers by a pattern',
      { target_modules: ['q_proj'], layers_to_transform: [0], layers_pattern: 'layers' },
      ['0.self_attn.q_proj'],
    ],
    [
      'an exact path whatever its layer',
      { target_modules: ['lm_head', 'q_proj'], layers_to_transform: [0] },
      ['0.self_attn.q_proj', 'lm_head'],
    ],
    [
      'exclusions',
      { target_modules: ['q_proj'], exclude_modules: ['0.self_attn.q_proj'] },
      ['1.self_attn.q_proj'],
    ],
    [
      'not modules that are trained whole',
      { target_modules: ['q_proj', 'down_proj'], modules_to_save: ['mlp'] },
      ['0.self_attn.q_proj', '1.self_attn.q_proj'],
    ],
  ])('%s', (_, fields, paths) => expect(picked(fields)).toEqual(paths));

  it('names modules that transformers 5 renamed', () => {
    const names = "this model's linear layers are: q_proj, v_proj, o_proj, down_proj, lm_head";
    const refusal = (targets: string[]): unknown => picked({ target_modules: targets });
    expect(() => refusal(['query', 'layers.0.attention.value', 'other'])).toThrow(
      `${names}; transformers 5 renamed query to q_proj and value to v_proj`,
    );
    expect(() => refusal(['other'])).toThrow(new RegExp(`${names}$`));
    expect(() => checkTargets({ ...NOTHING, target_modules: ['key'] }, ['k_proj'])).toThrow(
      "this model's linear layers are: k_proj; transformers 5 renamed key to k_proj",
    );
  });

  it('all-linear matches all linear layers except the head', () => {
    expect(picked({ target_modules: 'All-Linear' })).toHaveLength(8);
  });

  it.each<[string, Partial<TargetFields>, RegExp]>([
    [
      'missing modules',
      { target_modules: ['c_attn'] },
      /q_proj, v_proj, o_proj, down_proj, lm_head/,
    ],
    ['a norm', { target_modules: ['q_proj', 'norm'] }, /model.norm, which is not a linear/],
    ['an embedding', { target_modules: '.*(embed_tokens|q_proj)' }, /model.embed_tokens/],
  ])('rejects %s', (_, fields, message) => {
    expect(() => picked(fields)).toThrow(message);
    expect(() => picked(fields)).toThrow(DomainError);
  });

  it('names the token embedding for methods that support it', () => {
    const found = (fields: Partial<TargetFields>, takes = true) => {
      const { linears, table } = findTargets(modules(1), { ...NOTHING, ...fields }, [], takes);
      return [linears.length, table?.path ?? null];
    };
    expect(found({ target_modules: ['embed_tokens'] })).toEqual([0, 'model.embed_tokens']);
    expect(found({ target_modules: '.*(embed_tokens|q_proj)' })).toEqual([1, 'model.embed_tokens']);
    expect(found({ target_modules: 'all-linear' })).toEqual([4, null]);
    expect(
      found({ target_modules: ['embed_tokens', 'q_proj'], modules_to_save: ['embed_tokens'] }),
    ).toEqual([1, null]);
    expect(() => found({ target_modules: ['embed_tokens'] }, false)).toThrow(/not a linear layer/);
  });

  it('is written in full up to 19 paths, then as suffixes', () => {
    const written = (layers: number): string[] => {
      const all = modules(layers);
      return writtenTargets(
        targetLinears(all, { ...NOTHING, target_modules: 'all-linear' }, []),
        all,
      );
    };
    expect(written(4)).toHaveLength(16);
    expect(written(5)).toEqual(['down_proj', 'o_proj', 'q_proj', 'v_proj']);
  });
});
