// The matrix products of a training step, and the speed of this machine's products: the difference between a run's
// tokens per second and this limit is the cost of everything else.
//   node test/bench/product-limit.mjs [--hidden 576 --inner 1536] [--threads 2] [--cpu]
// prints the GF/s of bf16 products with a layer's shapes, x Wᵀ and dy W for 1,024 rows and weights that are in no
// cache, with the kernels that Graft selects, libtorch's or its own; the best of eight rounds. If the processor has
// tiles (AMX), which oneDNN uses unless GRAFT_ISA says otherwise, a second line has the speed of Graft's own kernel, as
// selected by GRAFT_ISA=amx, alternating with the first; --used leaves it out.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { linearShapes } from './shapes.mjs';

const FAMILIES = ['llama', 'mistral', 'qwen2', 'qwen3'];

const product = ([out, inputs]) => out * inputs;
const total = (values) => values.reduce((sum, value) => sum + value, 0);

/** Number of adapter parameters of a layer. */
function ranked(shapes, { peft_type: type, r, target_modules: targets }) {
  if (type !== 'LORA') return 0;
  const names = Object.keys(shapes).filter((name) => targets || /[qv]_proj$/.test(name));
  return total(names.map((name) => r * (shapes[name][0] + shapes[name][1])));
}

/**
 * Floating point operations of a step of next-token training on sequences {length, supervised}: forward pass and
 * gradients of the activations, two operations per multiplication. Each sequence counts in full, without shared prefixes;
 * attention is causal within the sequence, the head is computed at supervised positions, and virtual tokens once per
 * step. Null if the model is not LLaMA-like.
 */
function stepWork(config, peft, sequences) {
  if (!FAMILIES.includes(config.model_type)) return null;
  const { num_hidden_layers: layers, num_attention_heads: heads, hidden_size: d } = config;
  const width = heads * (config.head_dim ?? d / heads);
  const shapes = linearShapes(config);
  const linears = layers * total(Object.values(shapes).map(product));
  const factors = layers * ranked(shapes, peft);
  const virtual = peft.num_virtual_tokens ?? 0;
  const rows = total(sequences.map(({ length }) => length));
  const own = peft.peft_type === 'PROMPT_TUNING' ? virtual : 0;
  const pairs = total(sequences.map(({ length }) => length ** 2 / 2 + length * virtual));
  return (
    4 * linears * (rows + own) +
    6 * factors * rows +
    12 * layers * width * (pairs + own ** 2 / 2) +
    4 * d * config.vocab_size * total(sequences.map(({ supervised }) => supervised))
  );
}

/** Mean work of a step, for batches of `size` in order; null if it cannot be computed for this model. */
export function meanStepWork(config, peft, sequences, size) {
  const batches = Array.from({ length: Math.ceil(sequences.length / size) }, (_, i) =>
    sequences.slice(i * size, (i + 1) * size),
  );
  const work = batches.map((batch) => stepWork(config, peft, batch));
  return work.includes(null) ? null : total(work) / batches.length;
}

/** Speed of this machine's matrix products in GF/s, measured in a separate process. */
export function productSpeed(config, { threads, cpu }) {
  const args = [
    fileURLToPath(import.meta.url),
    '--hidden',
    String(config.hidden_size),
    '--inner',
    String(config.intermediate_size),
    '--threads',
    String(cpu ? 1 : threads),
    '--used',
    ...(cpu ? ['--cpu'] : []),
  ];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`cannot measure products:\n${stderr}`);
  return Number(stdout);
}

/** GF/s by instruction set. */
async function measure({ hidden, inner, threads, cpu, used }) {
  const k = await import('@graft/kernels');
  k.setThreads(threads);
  const random = (...shape) =>
    k.to(k.counterNormal(shape, { seed: 1, step: 0, site: shape[0] }), 'bf16');
  const now = () => {
    const { user, system } = process.cpuUsage();
    return cpu ? (user + system) / 1e6 : performance.now() / 1e3;
  };
  const rows = 1024;
  const weights = Array.from({ length: 24 }, () => random(inner, hidden));
  const [x, dy] = [random(rows, hidden), random(rows, inner)];
  const round = (set) => {
    k.instructionSet(set);
    const began = now();
    k.noGrad(() => {
      for (const weight of weights) k.tidy(() => [k.linear(x, weight), k.matmul(dy, weight)]);
    });
    return now() - began;
  };
  const extra = used ? [] : k.instructionSets().filter((set) => set === 'amx');
  const sets = [...new Set([k.instructionSet(), ...extra])];
  sets.forEach(round);
  const rounds = Array.from({ length: 8 }, () => sets.map(round));
  const work = (weights.length * 4 * rows * hidden * inner) / 1e9;
  return sets.map((set, i) => [set, work / Math.min(...rounds.map((times) => times[i]))]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      hidden: { type: 'string', default: '576' },
      inner: { type: 'string', default: '1536' },
      threads: { type: 'string', default: '2' },
      cpu: { type: 'boolean', default: false },
      used: { type: 'boolean', default: false },
    },
  });
  const { cpu, used } = values;
  const [hidden, inner, threads] = [values.hidden, values.inner, values.threads].map(Number);
  const [[, speed], ...others] = await measure({ hidden, inner, threads, cpu, used });
  console.log(speed.toFixed(1));
  for (const [set, other] of others) console.log(`GRAFT_ISA=${set}: ${other.toFixed(1)}`);
}
