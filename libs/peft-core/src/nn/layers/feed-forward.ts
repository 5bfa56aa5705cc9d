/** Feed-forward part of a block: down(act(gate(n)) ⊙ up(n)), or down(act(up(n))) without a gate. n: [T, D] */
import { gelu, mul, relu, silu, siluMul, split } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { ForwardContext } from '../context.js';
import { Linear } from './linear.js';
import type { DenseFeedForward } from '../outline/description.js';
import type { StackOptions } from '../outline/stack-options.js';

const ACTIVATIONS: Readonly<Record<StackOptions['activation'], (x: Tensor) => Tensor>> = {
  silu,
  relu,
  gelu: (x) => gelu(x),
  gelu_tanh: (x) => gelu(x, 'tanh'),
};

/** act(opened) ⊙ risen */
export const gate =
  (activation: StackOptions['activation']) =>
  (opened: Tensor, risen: Tensor): Tensor =>
    activation === 'silu' ? siluMul(opened, risen) : mul(ACTIVATIONS[activation](opened), risen);

export function feedForward(
  { gate: opening, up, down }: DenseFeedForward<Linear>,
  n: Tensor,
  { activation, gateUp, intermediateSize }: StackOptions,
  ctx: ForwardContext,
): Tensor {
  const activate = ACTIVATIONS[activation];
  const gated = gate(activation);
  const [risen, opened] = Linear.each(opening ? [up, opening] : [up], n, ctx) as [Tensor, Tensor?];
  if (opened) return down.forward(gated(opened, risen), ctx);
  if (gateUp === 'separate') return down.forward(activate(risen), ctx);
  const [first, second] = split(risen, intermediateSize, 1) as [Tensor, Tensor];
  return down.forward(gated(first, second), ctx);
}
