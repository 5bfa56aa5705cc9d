#!/usr/bin/env node
// Graft's own kernels compared with libtorch's operators, forward and backward, both sides in one run:
//   node test/bench/kernels.mjs [--threads 1] [--rounds 30] [--dtype bf16] [--cpu] [--record]
// Shapes of one SmolLM2-135M layer and a batch of 8 chats (1,450 tokens, 61 to 359 each); the loss is over 128 rows of
// 49,152 classes; adapters of rank 16 on 16 rows of generated tokens, two rows for each of eight adapters. Sides
// alternate; prints medians of the rounds after three warm-up rounds. --cpu: CPU time instead of wall time, for a busy
// machine.
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import * as k from '@graft/kernels';
import { record } from './record.mjs';

const { values: options } = parseArgs({
  options: {
    threads: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '30' },
    dtype: { type: 'string', default: 'bf16' },
    cpu: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
  },
});
k.setThreads(Number(options.threads));
const [HEADS, KV_HEADS, SIZE, HIDDEN, INNER, CLASSES] = [9, 3, 64, 576, 1536, 49152];
const LENGTHS = [61, 90, 110, 140, 180, 220, 290, 359];
const ROWS = LENGTHS.reduce((a, b) => a + b);
const SCALE = 1 / 8;
const WARM_UP = 3;

let site = 0;
const random = (...shape) =>
  k.to(k.counterNormal(shape, { seed: 1, step: 0, site: site++ }), options.dtype).detach();
const leaf = (...shape) => {
  const t = random(...shape);
  t.requiresGrad = true;
  return t;
};
const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

let at = 0;
const segments = LENGTHS.map((rows) => ({
  start: (at += rows) - rows,
  rows,
  keyStart: at - rows,
  keyRows: rows,
  beforeStart: 0,
  before: 0,
}));
const each = (q, keys, values, attend) => {
  const parts = [q, keys, values].map((t) => k.split(t, LENGTHS));
  return k.cat(LENGTHS.map((_, i) => attend(...parts.map((of) => of[i]))));
};
/** libtorch's fused attention. */
const fused =
  ({ isCausal = true, mask = () => null } = {}) =>
  (q, keys, values) => {
    const byHead = (t) => k.unsqueeze(k.transpose(t, 0, 1), 0);
    const output = k.scaledDotProductAttention(byHead(q), byHead(keys), byHead(values), {
      isCausal,
      mask: mask(q.shape[0]),
      scale: SCALE,
      enableGqa: true,
    });
    return k.reshape(k.transpose(output, 1, 2), [q.shape[0], HEADS * SIZE]);
  };
/** Biases as matrices [H, rows, rows] from a table of distances, with gradient, as in transformers. */
const distances = (rows) => {
  const places = k.arange(0, rows);
  return k.sub(k.unsqueeze(places, 0), k.unsqueeze(places, 1));
};
const relativeMask = (rows) => {
  const flat = k.view(distances(rows), [-1]);
  const biases = k.embedding(table, k.relativeBuckets(flat, 32, 128, true));
  return k.unsqueeze(k.permute(k.view(biases, [rows, rows, HEADS]), [2, 0, 1]), 0);
};
const alibiMask = (rows) => {
  const matrix = k.mul(k.view(slopes, [HEADS, 1, 1]), k.to(distances(rows), 'f32'));
  const hidden = k.triu(k.ones([rows, rows], 'bool'), 1);
  return k.unsqueeze(k.to(k.maskedFill(matrix, hidden, -Infinity), options.dtype), 0);
};
/** Caps the scores as transformers' Gemma 2 does. */
const capped = (scores, cap) => k.mul(k.tanh(k.mul(scores, SCALE / cap)), cap);
/**
 * Scores, softmax and weighted sum as matrix products; the queries of a group of heads are rows of their key
 * head.
 */
const productsOf = (cap) => (q, keys, values) => {
  const [rows, group] = [q.shape[0], HEADS / KV_HEADS];
  const grouped = k.reshape(k.transpose(k.view(q, [rows, KV_HEADS, group, SIZE]), 0, 1), [
    KV_HEADS,
    rows * group,
    SIZE,
  ]);
  const mask = k.to(k.where(k.tril(k.ones([rows, rows], 'bool')), 0, -Infinity), q.dtype);
  const summands = k.reshape(k.expand(k.view(mask, [rows, 1, rows]), [rows, group, rows]), [
    1,
    rows * group,
    rows,
  ]);
  const scores = cap
    ? k.add(capped(k.bmm(grouped, k.permute(keys, [1, 2, 0])), cap), summands)
    : k.call('aten::baddbmm', summands, grouped, k.permute(keys, [1, 2, 0]), 1, SCALE);
  const output = k.bmm(k.softmax(scores), k.transpose(values, 0, 1));
  return k.reshape(k.transpose(k.view(output, [KV_HEADS, rows, group * SIZE]), 0, 1), [
    rows,
    HEADS * SIZE,
  ]);
};
const norm = (x, weight) => {
  const wide = k.to(x, 'f32');
  return k.mul(
    weight,
    k.to(k.mul(wide, k.rsqrt(k.add(k.mean(k.square(wide), -1, true), 1e-5))), x.dtype),
  );
};
const rotaryByOperators = (x, cos, sin) =>
  k.addcmul_(k.mul(x, cos), k.call('aten::roll', x, SIZE / 2, 2), sin);
const q = leaf(ROWS, HEADS, SIZE);
const [keys, values] = [leaf(ROWS, KV_HEADS, SIZE), leaf(ROWS, KV_HEADS, SIZE)];
const table = leaf(32, HEADS);
const slopes = k.tensor(
  Array.from({ length: HEADS }, (_, i) => 2 ** (-8 * ((i + 1) / HEADS))),
  [HEADS],
);
const x = leaf(ROWS, HIDDEN);
const scaleOfNorm = random(HIDDEN);
const [gate, up] = [leaf(ROWS, INNER), leaf(ROWS, INNER)];
const scaleOfRows = k.to(random(INNER), 'f32').detach();
scaleOfRows.requiresGrad = true;
const [cos, sin] = [random(ROWS, 1, SIZE), random(ROWS, 1, SIZE)];
const [answers, sums] = [random(16, INNER), random(16, HIDDEN)];
const factors = Array.from({ length: 8 }, (_, i) => ({
  a: k.to(random(16, INNER), 'f32').detach(),
  b: k.to(random(HIDDEN, 16), 'f32').detach(),
  scale: 1,
  start: 2 * i,
  length: 2,
}));
const rounded = k.roundedFactors(factors);
const roundedFactors = factors.map((one, i) => ({ ...one, ...rounded[i] }));
const lowRankByOperators = (y, x) => {
  const [ys, xs] = [y, x].map((t) => k.split(t, Array(8).fill(2)));
  return k.cat(
    factors.map(({ a, b, scale }, i) => {
      const low = k.linear(xs[i], k.to(a, x.dtype));
      return k.addmm(ys[i], low, k.transpose(k.to(b, x.dtype), 0, 1), { alpha: scale });
    }),
  );
};
const logits = random(128, CLASSES);
const labels = k.tensor(
  BigInt64Array.from({ length: 128 }, (_, i) => BigInt(i * 100)),
  [128],
);
const scales = k.full([128], 0.01);
/** The gradient over the classes with separate operators, in place. */
const lossByOperators = (z) => {
  const logP = k.logSoftmax(z, -1, 'f32');
  const y = k.unsqueeze(labels, 1);
  const wanted = k.gather(logP, 1, y);
  k.ge(wanted, k.amax(logP, -1, true));
  k.call('aten::exp_', logP);
  k.call('aten::scatter_add_', logP, 1, y, k.full([128, 1], -1));
  return k.to(k.mul_(logP, k.unsqueeze(scales, 1)), z.dtype);
};

const trained = (run, leaves, ...shape) => {
  const g = random(...shape);
  return () => {
    k.backward([run()], [g]);
    for (const t of leaves) t.zeroGrad();
  };
};
const attention = (run) => trained(run, [q, keys, values, table], ROWS, HEADS * SIZE);
const own = (kind) =>
  attention(() => k.packedAttention(q, keys, values, segments, { scale: SCALE, ...kind }));
const libtorchs = (kind) => ({
  'fused attention': attention(() => each(q, keys, values, fused(kind))),
});
const relative = { kind: 'relative', table, maxDistance: 128, bidirectional: true };
const quiet = (run) => () => k.noGrad(run);
/**
 * oneDNN's product: with a lower instruction set, the package's own kernels leave bf16 products to oneDNN.
 */
const byOneDnn = (run) => () => {
  const best = k.instructionSet();
  k.instructionSet('avx512');
  run();
  k.instructionSet(best);
};
const [frozen, thin] = [random(INNER, HIDDEN), leaf(8, HIDDEN)];
const product = trained(() => k.linear(x, frozen, null), [x], ROWS, INNER);
const thinProduct = trained(() => k.linear(x, thin, null), [x, thin], ROWS, 8);
const CASES = [
  [
    'attention',
    own({}),
    { ...libtorchs(), 'plain products': attention(() => each(q, keys, values, productsOf(null))) },
  ],
  ['both ways', own({ causal: false }), libtorchs({ isCausal: false })],
  [
    'T5 biases',
    own({ causal: false, bias: relative }),
    libtorchs({ isCausal: false, mask: relativeMask }),
  ],
  [
    'ALiBi',
    own({ bias: { kind: 'alibi', slopes } }),
    libtorchs({ isCausal: false, mask: alibiMask }),
  ],
  [
    'capped scores',
    own({ softcap: 50 }),
    { 'plain products': attention(() => each(q, keys, values, productsOf(50))) },
  ],
  [
    'rmsNorm',
    trained(() => k.rmsNorm(x, scaleOfNorm, 1e-5), [x], ROWS, HIDDEN),
    { operators: trained(() => norm(x, scaleOfNorm), [x], ROWS, HIDDEN) },
  ],
  [
    'scaleRows',
    trained(() => k.scaleRows(gate, scaleOfRows), [gate, scaleOfRows], ROWS, INNER),
    {
      operators: trained(
        () => k.to(k.mul(gate, scaleOfRows), gate.dtype),
        [gate, scaleOfRows],
        ROWS,
        INNER,
      ),
    },
  ],
  [
    'siluMul',
    trained(() => k.siluMul(gate, up), [gate, up], ROWS, INNER),
    { operators: trained(() => k.mul(k.silu(gate), up), [gate, up], ROWS, INNER) },
  ],
  [
    'rotary',
    trained(() => k.rotary(q, cos, sin), [q], ROWS, HEADS, SIZE),
    { operators: trained(() => rotaryByOperators(q, cos, sin), [q], ROWS, HEADS, SIZE) },
  ],
  [
    'crossEntropy_',
    quiet(() => k.crossEntropy_(k.add(logits, 0), labels, scales)),
    { operators: quiet(() => lossByOperators(k.add(logits, 0))) },
  ],
  ...(k.instructionSet() === 'avx512bf16' && options.dtype === 'bf16'
    ? [
        ['product', product, { oneDNN: byOneDnn(product) }],
        ['product, r 8', thinProduct, { oneDNN: byOneDnn(thinProduct) }],
      ]
    : []),
  [
    'addLowRank_',
    quiet(() => k.addLowRank_([sums], answers, k.lowRankCall([factors]))),
    {
      ...(options.dtype === 'bf16' && {
        rounded: quiet(() => k.addLowRank_([sums], answers, k.lowRankCall([roundedFactors]))),
      }),
      operators: quiet(() => lowRankByOperators(sums, answers)),
    },
  ],
];

const now = () => {
  if (!options.cpu) return performance.now();
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const info = k.kernelsInfo();
console.log(
  `libtorch ${info.libtorch}, ${k.instructionSet()}, ${options.dtype}, ${options.threads} threads, load ${loadavg()[0].toFixed(2)}; milliseconds, median (least)`,
);
const rows = [];
for (const [name, mine, others] of CASES) {
  const sides = Object.entries({ own: mine, ...others });
  const times = new Map(sides.map(([side]) => [side, []]));
  for (let round = 0; round < WARM_UP + Number(options.rounds); round++) {
    for (const [side, run] of round % 2 === 0 ? sides : [...sides].reverse()) {
      const started = now();
      k.tidy(() => void run());
      if (round >= WARM_UP) times.get(side).push(now() - started);
    }
  }
  const best = median(times.get('own'));
  for (const side of Object.keys(others)) {
    const other = median(times.get(side));
    rows.push([
      `${name}, ${side}`,
      best.toFixed(2),
      other.toFixed(2),
      `${(other / best).toFixed(2)} ×`,
    ]);
  }
  for (const [side, spent] of times) {
    const ratio = side === 'own' ? '' : `  ${(median(spent) / best).toFixed(2)} x`;
    console.log(
      `${name.padEnd(16)} ${side.padEnd(16)} ${median(spent).toFixed(2).padStart(7)} (${Math.min(...spent).toFixed(2)})${ratio}`,
    );
  }
}
if (options.record) record('kernels', rows);
