/**
 * AdamW (arXiv:1711.05101), identical to torch.optim.AdamW, for step t = 1, 2, …
 *   p ← p (1 - lr λ)
 *   m ← β₁ m + (1 - β₁) g
 *   v ← β₂ v + (1 - β₂) g²
 *   p ← p - lr / (1 - β₁ᵗ) · m / (sqrt(v) / sqrt(1 - β₂ᵗ) + ε)
 */
import { noGrad } from '../autograd.js';
import { run } from '../call.js';
import { KernelError } from '../errors.js';
import { tidy } from '../scope.js';
import { describe } from '../tensor.js';
import type { Tensor } from '../tensor.js';
import { full } from './creation.js';
import { copy_ } from './in-place.js';
import { to } from './shape.js';

export interface AdamwOptions {
  lr: number;
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
  /** counts from 1 */
  step: number;
}

/**
 * Does one step in place on all parameters. m and v are f32 with the parameters' shapes. Gradients are converted to
 * f32; so are parameters in half precision, which are rounded once when written back.
 */
export function adamwStep(
  params: readonly Tensor[],
  grads: readonly Tensor[],
  m: readonly Tensor[],
  v: readonly Tensor[],
  options: AdamwOptions,
): void {
  check(params, grads, m, v, options);
  if (params.length === 0) return;
  noGrad(() =>
    tidy(() => {
      const wide = params.map((p) => (p.dtype === 'f32' ? p : to(p, 'f32')));
      const gradients = grads.map((g) => (g.dtype === 'f32' ? g : to(g, 'f32')));
      const { lr, beta1, beta2, eps, weightDecay, step } = options;
      const device = (params[0] as Tensor).device;
      // the kernel reads one step counter per parameter; all may be the same tensor
      const counter = full([], step, 'f32', device);
      const counters = params.map(() => counter);
      run(
        'aten::_fused_adamw_',
        wide,
        gradients,
        m,
        v,
        [],
        counters,
        lr,
        beta1,
        beta2,
        weightDecay,
        eps,
        false,
        false,
      );
      params.forEach((p, i) => {
        if (wide[i] !== p) copy_(p, wide[i] as Tensor);
      });
    }),
  );
}

function check(
  params: readonly Tensor[],
  grads: readonly Tensor[],
  m: readonly Tensor[],
  v: readonly Tensor[],
  { step }: AdamwOptions,
): void {
  const fail = (message: string): never => {
    throw new KernelError('adamwStep', `adamwStep: ${message}`);
  };
  if (!Number.isInteger(step) || step < 1) fail(`step must be ≥ 1, got ${step}`);
  const n = params.length;
  if (grads.length !== n || m.length !== n || v.length !== n) {
    fail(
      `${n} params, ${grads.length} grads, ${m.length} m, ${v.length} v: expected equal numbers of each`,
    );
  }
  for (let i = 0; i < n; i++) {
    const [p, g, mi, vi] = [params[i], grads[i], m[i], v[i]] as [Tensor, Tensor, Tensor, Tensor];
    const shape = p.shape.join();
    if (g.shape.join() !== shape || mi.shape.join() !== shape || vi.shape.join() !== shape) {
      fail(
        `parameter ${i} is ${describe(p)}, its grad ${describe(g)}, m ${describe(mi)}, v ${describe(vi)}`,
      );
    }
    if (mi.dtype !== 'f32' || vi.dtype !== 'f32')
      fail(`m and v must be f32, got ${mi.dtype} and ${vi.dtype}`);
  }
}
