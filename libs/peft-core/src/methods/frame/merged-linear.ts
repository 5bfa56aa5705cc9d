/** Linear layer with a merged update, as stored in files, and the weight change that the update makes. */
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

/** Update that can be merged into a linear layer. */
interface Merges {
  merged?(weight: Tensor, bias: Tensor | null): Merged;
}

interface Target {
  readonly linear: Linear;
  readonly update: Merges;
}

/** Returns the change that an update makes to the weight of its linear layer. */
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

/** Returns the merged weight of a linear layer as stored in files, and its bias if that changes. */
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
