/**
 * Compares each own kernel with the composition of libtorch's operators in f64 on the same inputs, values and
 * gradients, on every instruction set of this processor. In f64 the libraries' order of sums does not matter, so the
 * difference is the kernel's alone.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import * as k from '../src/index.js';
import type { Dtype, Tensor } from '../src/index.js';
import { isAllTier } from '../../../test/tier.js';

/**
 * Largest difference from f64 over the largest value. More than twice the measured values: up to 1.41e-6 in f32
 * (composition in f32: 3.25e-6, attention with heads of 64), 5.7e-3 in bf16 (composition: 1.3e-2).
 */
const TOLERANCE: Partial<Record<Dtype, number>> = { f32: 3e-6, bf16: 1.2e-2 };

let site = 0;

/** Random values, different at each call; `restart` repeats them. */
export const random = (shape: readonly number[], dtype: Dtype): Tensor =>
  k.to(k.counterNormal([...shape], { seed: 1, step: 0, site: site++ }), dtype).detach();
export const restart = (at: number): void => void (site = at);

export const parameter = (t: Tensor): Tensor => {
  const own = k.contiguous(t).detach();
  own.requiresGrad = true;
  return own;
};

/** Reference of a kernel. */
interface Exact {
  readonly shape: readonly number[];
  readonly values: Float64Array;
}

function exactly(t: Tensor): Exact {
  expect(t.dtype).toBe('f64');
  return { shape: t.shape, values: t.toArray() as Float64Array };
}

function distance(got: Tensor, exact: Exact): number {
  expect(got.shape).toEqual(exact.shape);
  const a = k.to(got, 'f64').toArray() as Float64Array;
  const b = exact.values;
  const largest = b.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const worst = a.reduce((most, value, i) => {
    const difference = Math.abs(value - (b[i] as number));
    return difference <= most ? most : difference; // NaN must not pass
  }, 0);
  return worst / largest;
}

export function expectClose(got: Tensor, exact: Tensor | Exact, dtype: Dtype): void {
  expect(got.dtype).toBe(dtype);
  const expected = 'values' in exact ? exact : exactly(exact);
  expect(distance(got, expected)).toBeLessThan(TOLERANCE[dtype] as number);
}

/** Compares value and gradients of `own` on inputs in `dtype` with those of `composed` on the same values in f64. */
export function compare(
  inputs: readonly Tensor[],
  dtype: Dtype,
  own: (...inputs: Tensor[]) => Tensor,
  composed: (...inputs: Tensor[]) => Tensor,
): void {
  const ownInputs = inputs.map(parameter);
  const got = own(...ownInputs);
  const g = random(got.shape, dtype);
  k.backward([got], [g]);
  const [expected, ...gradients] = reference(inputs, g, composed);
  expectClose(got, expected as Exact, dtype);
  ownInputs.forEach((t, i) => expectClose(t.grad as Tensor, gradients[i] as Exact, dtype));
}

const references = new Map<string, Exact[]>();

/**
 * Value and gradients of `composed` in f64. They take most of a comparison's time and serve every instruction set, so
 * they are cached by their inputs.
 */
function reference(
  inputs: readonly Tensor[],
  g: Tensor,
  composed: (...inputs: Tensor[]) => Tensor,
): Exact[] {
  const hash = createHash('sha256').update(nameOnAnySet());
  for (const t of [...inputs, g])
    hash.update(`${t.dtype} ${t.shape.join(' ')}`).update(k.contiguous(t).bytes());
  const key = hash.digest('hex');
  const known = references.get(key);
  if (known) return known;
  const exact = inputs.map((t) => parameter(k.to(t, 'f64')));
  const expected = composed(...exact);
  k.backward([expected], [k.to(g, 'f64')]);
  const found = [expected, ...exact.map((t) => t.grad as Tensor)].map(exactly);
  references.set(key, found);
  return found;
}

const nameOnAnySet = (): string =>
  expect.getState().currentTestName?.replace(/\bon (\w+|CUDA, emulated) >/, '') ?? '';

/** Random values, the fourth of them NaN. */
export function spoilt(shape: readonly number[], dtype: Dtype): Tensor {
  const t = k.add(random(shape, 'f32'), 0);
  k.copy_(k.narrow(k.view(t, [-1]), 0, 3, 1), k.tensor([NaN], [1]));
  return k.to(t, dtype);
}

export const hasNaN = (t: Tensor): boolean =>
  [...(k.to(t, 'f32').toArray() as Float32Array)].some(Number.isNaN);

/**
 * Describes `tests` in f32 and bf16 on the instruction set in use and on `generic`. In the tier `all`, and if another
 * addon is selected, on each set of this processor. One source is compiled for all sets.
 */
export function onEachSet(tests: (dtype: 'f32' | 'bf16') => void): void {
  const best = k.instructionSet();
  const isInTier = (set: string): boolean =>
    isAllTier || Boolean(process.env['GRAFT_KERNELS']) || set === best || set === 'generic';
  afterAll(() => references.clear());
  describe.each(k.instructionSets().filter(isInTier))('on %s', (set) => {
    beforeAll(() => {
      k.instructionSet(set);
      restart(0); // the same values, whichever specs ran in this process before
    });
    afterAll(() => void k.instructionSet(best));
    describe.each(['f32', 'bf16'] as const)('%s', tests);
  });
}

/** Exports of the addon with emulated CUDA implementations: native/cuda/emulated/module.cpp. */
export interface Emulated {
  use(on: boolean): void;
  launches(): number;
  isWrong(waits: boolean): boolean;
  halfWaits(): string | null;
  writesPast(): string | null;
}

export function loadEmulated(): Emulated {
  const path = buildEmulated('cuda');
  k.zeros([1]).dispose(); // registers the operators' schemas before their implementations
  return createRequire(import.meta.url)(path) as Emulated;
}

/** Builds one of the emulating addons of scripts/build.mjs. @returns its path */
export function buildEmulated(what: 'cuda' | 'tiles'): string {
  const script = fileURLToPath(new URL('../scripts/build.mjs', import.meta.url));
  return execFileSync(process.execPath, [script, '--emulated', what], { encoding: 'utf8' }).trim();
}

/** Like `onEachSet`. In the tier `all` it also runs the emulated CUDA implementations (native/cuda/emulated). */
export function onEachBody(tests: (dtype: 'f32' | 'bf16') => void): void {
  onEachSet(tests);
  if (!isAllTier || process.env['GRAFT_KERNELS']) return;
  describe('on CUDA, emulated', () => {
    let emulated: Emulated;
    beforeAll(() => {
      emulated = loadEmulated();
      emulated.use(true);
      restart(0);
    }, 1_800_000);
    afterAll(() => {
      emulated.use(false);
      expect(emulated.launches()).toBeGreaterThan(0);
    });
    describe.each(['f32', 'bf16'] as const)('%s', tests);
  });
}
