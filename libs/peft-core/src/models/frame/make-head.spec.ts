import { layerNorm, linear, mean, mul, narrow, ones, tensor, tidy, zeros } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { expect, it } from 'vitest';
import { headOutputs } from '../../tasks/heads/head-outputs.js';
import { storedShape, tableName } from '../../nn/outline/outline.js';
import { assemble } from './assemble.js';
import { optionsOf, outlineOf } from '../registry.js';
import { vit } from '../vit.js';

const CONFIG = {
  model_type: 'vit',
  hidden_size: 4,
  num_hidden_layers: 1,
  num_attention_heads: 1,
  intermediate_size: 4,
  image_size: 4,
  patch_size: 2,
  num_channels: 1,
};

/**
 * Weights of a block that adds nothing, and of a norm that changes little: output rows are the normed
 * patches.
 */
function weights(): Map<string, Tensor> {
  const outline = outlineOf(CONFIG);
  const identity = tensor([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], [4, 1, 2, 2]);
  return new Map([
    ...outline
      .embeddings()
      .map((table) => [tableName(table), zeros([1, table.rows, table.columns])] as const),
    ...outline
      .linears()
      .flatMap((one) => [
        [`${one.path}.weight`, one.kernel ? identity : zeros(storedShape(one))] as const,
        [`${one.path}.bias`, zeros([one.outFeatures])] as const,
      ]),
    ...outline
      .norms()
      .flatMap(({ path, features }) => [
        [`${path}.weight`, ones([features])] as const,
        [`${path}.bias`, zeros([features])] as const,
      ]),
  ]);
}

it.each([
  ['first_two', 4],
  ['first_and_mean', 8],
] as const)('a %s head reads %i values, normed if it has a norm of its own', (pool, width) =>
  tidy(() => {
    const hasNorm = pool === 'first_two';
    const classification = {
      pool,
      ...(hasNorm && { norm: 'classifier.layernorm' }),
      output: 'classifier.dense',
      hasBias: true,
    };
    const model = assemble({
      family: 'vit',
      config: CONFIG,
      options: optionsOf(CONFIG),
      paths: { ...vit.paths, heads: { classification } },
      tensors: weights(),
      reading: { dtype: 'f32', quantizer: null, isStoredPacked: false, aliases: {} },
    });
    model.withHead(1, { kind: 'classification', outputs: 3 }, 5);
    const head = model.modules.heads.get(1);
    const [output] = head?.made ?? [];
    expect([output?.inFeatures, head?.ownNorm?.path]).toEqual([
      width,
      hasNorm ? 'classifier.layernorm' : undefined,
    ]);
    const picture = tensor([1, 2, 3, 4, 5, 6, 7, 9, 2, 8, 1, 5, 0, 3, 6, 2], [1, 4, 4]);
    const ctx = { training: false, runs: new Map() };
    const sequences = [{ feature: picture, rows: model.inputRows([1, 4, 4]) }];
    const [found] = headOutputs(model, [{ run: 1, sequences }], ctx) as [Tensor];

    const patches = [1, 2, 5, 6, 3, 4, 7, 9, 2, 8, 0, 3, 1, 5, 6, 2];
    const rows = tensor([0, 0, 0, 0, ...patches], [5, 4]);
    const normed = layerNorm(rows, ones([4]), zeros([4]), 1e-12);
    const read = hasNorm
      ? layerNorm(mean(narrow(normed, 0, 0, 2), [0], true), ones([4]), zeros([4]), 1e-12)
      : tensor(
          [
            ...narrow(normed, 0, 0, 1).toArray(),
            ...mean(narrow(normed, 0, 1, 4), [0]).toArray(),
          ].map(Number),
          [1, 8],
        );
    const wanted = linear(read, output?.weight.dense() as Tensor, null);
    const rounded = (t: Tensor): number[] =>
      [...mul(t, 1e5).toArray()].map((x) => Math.round(Number(x)));
    expect(rounded(found)).toEqual(rounded(wanted));
    model.modules.detach(1);
    model.dispose();
  }),
);
