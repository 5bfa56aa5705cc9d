// Products of bf16 (native/ops/bf16_products.cpp, few_rows.cpp), in a process that is held to some instructions, beside
// the same numbers multiplied in f64: one rounding of the result, 2⁻⁸ of it, and the sum's own in f32.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const BUILT = fileURLToPath(new URL('../../dist/index.js', import.meta.url));

/** Runs in a process of its own: the farthest that a number of each product is from f64's, as a share of its bound. */
const program = `
const k = await import(${JSON.stringify(BUILT)});
let site = 0;
const random = (...shape) => k.to(k.counterNormal(shape, { seed: 7, step: 0, site: site++ }), 'bf16').detach();
const wide = (t) => k.to(t, 'f64');
const numbers = (t) => Array.from(k.to(t, 'f64').toArray());
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
  // of a row nothing depends on how many others there are, and rows may lie apart
  const [a, w] = [random(24, 130), random(18, 130)];
  const alone = numbers(k.linear(k.narrow(a, 0, 7, 1), w, null));
  const together = numbers(k.narrow(k.linear(a, w, null), 0, 7, 1));
  found['alone'] = alone.every((x, i) => x === together[i]) ? 0 : 2;
  const x = random(5, 200);
  const inside = k.narrow(x, 1, 3, 130);
  found['apart'] = far(k.linear(inside, w, null), k.matmul(wide(inside), k.transpose(wide(w), 0, 1)), 130);
}
for (const [batch, m, depth, n] of [[3, 4, 5, 6], [2, 1, 9, 4], [5, 300, 900, 70]]) {
  const [a, b] = [random(batch, m, depth), random(batch, depth, n)];
  found['bmm ' + [batch, m, depth, n].join(' x ')] = far(k.bmm(a, b), k.bmm(wide(a), wide(b)), depth);
}
process.stdout.write(JSON.stringify(found));`;

// a limit beyond what the processor has changes nothing
it.each(['avx512bf16', 'avx512', 'avx2', 'generic'])(
  'products of bf16 are rounded once, with %s',
  (isa) => {
    const env = { ...process.env, GRAFT_ISA: isa };
    const arguments_ = ['--input-type=module', '-e', program];
    const text = execFileSync(process.execPath, arguments_, { encoding: 'utf8', env });
    const found = Object.entries(JSON.parse(text) as Record<string, number>);
    expect(found.length).toBe(45);
    expect(found.filter(([, share]) => !(share <= 1.01))).toEqual([]);
  },
);
