// bf16 products (native/ops/bf16_products.cpp, few_rows.cpp, packed_product.cpp, packed_tiles.inc), in a process
// limited to an instruction set, against f64. The tolerance is one rounding of the result (2⁻⁸ of it) and the f32
// rounding of the sum.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { isAllTier } from '../../../../test/tier.js';
import { buildEmulated } from '../../test/own-kernel.js';
import { instructionSets } from '../index.js';

const BUILT = fileURLToPath(new URL('../../dist/index.js', import.meta.url));

/** Program for a separate process: prints the largest error of each product relative to its bound. */
const program = `
const k = await import(${JSON.stringify(BUILT)});
let site = 0;
const random = (...shape) => k.to(k.counterNormal(shape, { seed: 7, step: 0, site: site++ }), 'bf16').detach();
const wide = (t) => k.to(t, 'f64');
const numbers = (t) => k.to(t, 'f64').toArray();
const far = (got, wanted, depth) => {
  if (got.dtype !== 'bf16') throw new Error(got.dtype);
  const [a, b] = [numbers(got), numbers(wanted)];
  if (a.length !== b.length) throw new Error('shapes');
  return a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]) / (Math.abs(b[i]) / 256 + 1e-5 * Math.sqrt(depth))), 0);
};
const found = {};
for (const [m, depth, n] of [[1, 40, 24], [2, 33, 7], [3, 65, 5], [24, 130, 18], [70, 24, 33], [5, 0, 3], [260, 4200, 280]]) {
  const name = [m, depth, n].join(' x ');
  const [a, b, w, d, row] = [random(m, depth), random(depth, n), random(n, depth), random(m, n), random(n)];
  const product = k.matmul(wide(a), wide(b));
  found['mm ' + name] = far(k.matmul(a, b), product, depth);
  found['linear ' + name] = far(k.linear(a, w, row), k.add(k.matmul(wide(a), k.transpose(wide(w), 0, 1)), wide(row)), depth);
  found['without a bias ' + name] = far(k.linear(a, w, null), k.matmul(wide(a), k.transpose(wide(w), 0, 1)), depth);
  const into = k.clone(d);
  k.addmm_(into, a, b, { beta: 0.5, alpha: 2 });
  found['addmm_ ' + name] = far(into, k.add(k.mul(wide(d), 0.5), k.mul(product, 2)), depth);
  if (depth > 0) {
    const [x, v] = [random(m, depth), random(n, depth)];
    x.requiresGrad = v.requiresGrad = true;
    k.backward([k.linear(x, v, null)], [d]);
    found['dx ' + name] = far(x.grad, k.matmul(wide(d), wide(v)), n);
    found['dw ' + name] = far(v.grad, k.matmul(k.transpose(wide(d), 0, 1), wide(x)), m);
  }
}
{
  // a row does not depend on the number of rows, and rows may be strided
  const [a, w] = [random(24, 130), random(18, 130)];
  const alone = numbers(k.linear(k.narrow(a, 0, 7, 1), w, null));
  const together = numbers(k.narrow(k.linear(a, w, null), 0, 7, 1));
  found['alone'] = alone.every((x, i) => x === together[i]) ? 0 : 2;
  const x = random(5, 200);
  const inside = k.narrow(x, 1, 3, 130);
  found['apart'] = far(k.linear(inside, w, null), k.matmul(wide(inside), k.transpose(wide(w), 0, 1)), 130);
}
// gradients of LoRA factors, whose first factor is transposed, and factors that are slices
for (const [rows, inner, r] of [[100, 96, 8], [131, 70, 16], [67, 200, 64]]) {
  const name = [rows, inner, r].join(' x ');
  const across = (t) => k.transpose(t, 0, 1);
  const [x, low, up, y] = [random(rows, inner), random(rows, r), random(inner, r), random(rows, inner)];
  found['low across ' + name] = far(k.matmul(across(low), x), k.matmul(across(wide(low)), wide(x)), rows);
  found['high across ' + name] = far(k.matmul(across(x), low), k.matmul(across(wide(x)), wide(low)), rows);
  const sum = k.add(wide(y), k.mul(k.matmul(wide(low), across(wide(up))), 2));
  found['plus ' + name] = far(k.addmm(y, low, across(up), { alpha: 2 }), sum, r);
  found['plus in place ' + name] = far(k.addmm_(y, low, across(up), { alpha: 2 }), sum, r);
  const [part, weight] = [k.narrow(random(rows, inner + 9), 1, 5, inner), k.narrow(random(40, inner + 3), 1, 3, inner)];
  found['parts ' + name] = far(k.linear(part, weight, null), k.matmul(wide(part), across(wide(weight))), inner);
  const columns = k.narrow(random(inner, 77), 1, 7, 70);
  found['part of rows ' + name] = far(k.matmul(part, columns), k.matmul(wide(part), wide(columns)), inner);
}
if (['avx512bf16', 'amx'].includes(k.instructionSet())) {
  // a row has the same bits among other rows and with more threads
  for (const [depth, n] of [[130, 200], [4200, 130]]) {
    const [a, w, v] = [random(300, depth), random(n, depth), random(depth, n)];
    const all = [k.linear(a, w, null), k.matmul(a, v)];
    k.setThreads(2);
    const again = [k.linear(a, w, null), k.matmul(a, v)];
    const some = k.narrow(a, 0, 101, 90);
    const few = [k.linear(some, w, null), k.matmul(some, v)];
    k.setThreads(1);
    const same = (x, y) => String(numbers(x)) === String(numbers(y));
    const isSame = all.every((x, i) => same(x, again[i]) && same(k.narrow(x, 0, 101, 90), few[i]));
    found['same bits ' + depth] = isSame ? 0 : 2;
  }
  // NaN only affects its own row, also if the row's last pair is half empty
  const a = random(30, 33), spoilt = k.clone(a);
  k.copy_(k.narrow(spoilt, 0, 3, 1), k.full([1, 33], NaN));
  const w = random(70, 33);
  const [got, wanted] = [numbers(k.linear(spoilt, w, null)), numbers(k.linear(a, w, null))];
  const isRight = got.every((x, i) => (i >= 210 && i < 280 ? Number.isNaN(x) : x === wanted[i]));
  found['spoilt row'] = isRight ? 0 : 2;
}
for (const [batch, m, depth, n] of [[3, 4, 5, 6], [2, 1, 9, 4], [5, 300, 900, 70]]) {
  const [a, b] = [random(batch, m, depth), random(batch, depth, n)];
  found['bmm ' + [batch, m, depth, n].join(' x ')] = far(k.bmm(a, b), k.bmm(wide(a), wide(b)), depth);
}
process.stdout.write(JSON.stringify(found));`;

const hasEmulated =
  isAllTier && !process.env['GRAFT_KERNELS'] && instructionSets().includes('avx512bf16');

// a limit above the processor's own set changes nothing
it.each([
  ...['amx', 'avx512bf16', 'avx512', 'avx2', 'generic'].map((isa) => ({ name: isa, isa })),
  ...(hasEmulated ? [{ name: 'amx, emulated', isa: 'amx', emulated: true }] : []),
])('products of bf16 are rounded once, with $name', { timeout: 1_800_000 }, (variant) => {
  const env: NodeJS.ProcessEnv = { ...process.env, GRAFT_ISA: variant.isa };
  if ('emulated' in variant) env['GRAFT_KERNELS'] = buildEmulated('tiles');
  const arguments_ = ['--input-type=module', '-e', program];
  const text = execFileSync(process.execPath, arguments_, { encoding: 'utf8', env });
  const found = Object.entries(JSON.parse(text) as Record<string, number>);
  expect(found.length).toBeGreaterThanOrEqual(63);
  expect(found.filter(([, share]) => !(share <= 1.01))).toEqual([]);
});
