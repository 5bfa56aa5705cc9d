/** A linear with an update in it, as files have it, and what the update adds to its weight. */
import { contiguous, noGrad, sub, tidy, to } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { BaseDtype } from '../../nn/precision.js';
import { asStored } from '../../nn/layers/linear.js';
import type { Linear } from '../../nn/layers/linear.js';
import type { WeightUpdate } from '../method.js';

export interface Merged {
  readonly weight: Tensor;
  readonly bias?: Tensor | null;
}

/** Who can say what a linear is with an update in it. */
interface Merges {
  merged?(weight: Tensor, bias: Tensor | null): Merged;
}

interface Target {
  readonly linear: Linear;
  readonly update: Merges;
}

/** What an update adds to the weight of its linear. */
export function updateOf({ linear, update }: Target): WeightUpdate {
  let changesBias = false;
  const added = noGrad(() =>
    tidy(() => {
      const frozen = linear.weight.dense('f32');
      const bias = linear.bias && to(linear.bias, 'f32');
      const { weight, bias: changed } = update.merged?.(frozen, bias) as Merged;
      changesBias = Boolean(changed) && changed !== bias;
      return sub(weight, frozen).detach();
    }),
  );
  const isConvolution = linear.kernel !== undefined;
  return { path: linear.path, update: added, changesBias, isConvolution };
}

/** A linear's weight, and its bias where that changes, as files have them. */
export function mergedLinear(
  linear: Linear,
  update: Merges,
  bias: Tensor | null,
  dtype: BaseDtype,
): Map<string, Tensor> {
  const written = (tensor: Tensor): Tensor => contiguous(to(tensor, dtype)).detach();
  return noGrad(() =>
    tidy(() => {
      const whole = update.merged?.(linear.weight.dense('f32'), bias && to(bias, 'f32')) as Merged;
      return new Map([
        ['weight', written(asStored(linear, whole.weight))],
        ...(whole.bias ? ([['bias', written(whole.bias)]] as const) : []),
      ]);
    }),
  );
}
