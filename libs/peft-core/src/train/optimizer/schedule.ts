// Learning rates of transformers' get_*_schedule_with_warmup, except for the warm-up. With w warm-up steps of
// n:
//   warm-up   (s + 1) / (w + 1)              for s < w
//   linear    (n - s) / (n - w)
//   cosine    (1 + cos(π (s - w) / (n - w))) / 2
//   constant  1
// times the peak rate; s counts from 0. transformers' warm-up is s / w: its first step has rate 0 and is
// wasted, which is one of six steps for a dozen examples. After the warm-up the rates are equal, and no step
// has rate 0.
import type { Spec } from '@graft/contracts';

export type Schedule = Spec['lr_schedule'];

/** Number of warm-up steps, as in transformers' TrainingArguments.get_warmup_steps. */
export function warmupSteps(totalSteps: number, ratio: number): number {
  return Math.ceil(totalSteps * ratio);
}

/** Share of the peak rate at step `s` (from 0) of `n`, after `w` warm-up steps. */
export function rateAt(schedule: Schedule, s: number, w: number, n: number): number {
  if (s < w) return (s + 1) / (w + 1);
  const progress = (s - w) / Math.max(1, n - w);
  switch (schedule) {
    case 'constant':
      return 1;
    case 'linear':
      return Math.max(0, (n - s) / Math.max(1, n - w));
    case 'cosine':
      return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
  }
}
