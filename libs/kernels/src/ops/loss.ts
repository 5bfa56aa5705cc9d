import { many, run } from '../call.js';
import { tidy } from '../scope.js';
import type { Tensor } from '../tensor.js';
import { full } from './creation.js';
import { copy_, mul_ } from './in-place.js';
import { isOwn } from './instruction-set.js';
import { amax, ge, logSoftmax, neg } from './maths.js';
import { gather, squeeze, unsqueeze } from './shape.js';

/**
 * Cross-entropy of each row. With `scales`, the logits are overwritten by its gradient, s (softmax(z) - [c = y]).
 * @param logits [n, classes]
 * @param labels i64 [n], each one of the classes
 * @param scales f32 [n]
 * @returns losses, f32 [n], and whether the label was the most likely class, bool [n]
 */
export function crossEntropy_(
  logits: Tensor,
  labels: Tensor,
  scales: Tensor | null,
): { losses: Tensor; right: Tensor } {
  if (isOwn(logits)) {
    const [losses, right] = many('graft::cross_entropy_', logits, labels, scales) as Pair;
    return { losses, right };
  }
  const [losses, right] = tidy((): Pair => {
    const y = unsqueeze(labels, 1);
    const logP = logSoftmax(logits, -1, 'f32');
    const targetLogP = gather(logP, 1, y);
    const found: Pair = [
      neg(squeeze(targetLogP, 1)),
      squeeze(ge(targetLogP, amax(logP, -1, true)), 1),
    ];
    if (scales) {
      run('aten::exp_', logP);
      run('aten::scatter_add_', logP, 1, y, full(y.shape, -1, 'f32', logits.device));
      copy_(logits, mul_(logP, unsqueeze(scales, 1)));
    }
    return found;
  });
  return { losses, right };
}
type Pair = [Tensor, Tensor];
