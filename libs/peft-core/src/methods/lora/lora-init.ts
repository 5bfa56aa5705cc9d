/**
 * Initial values of LoRA's A [r, in] and B [out, r], by init_lora_weights.      W: [out, in], s: the update's scale
 *   true        A ~ U(±1/√in), B = 0;  "gaussian": A ~ N(0, 1/r²);  false: B ~ U(±1/√r) too, for tests
 *   orthogonal  Q: [r, r] of N's QR,  A = (N [in, r/2] · Q's even rows)ᵀ / 10,  B = N [out, r/2] · Q's odd rows / 10:
 *               BA = 0 and neither is zero
 *   mica        arXiv:2604.01694.  W = U Σ V,  B = U's last r columns, frozen, A = 0
 *   pissa       arXiv:2404.02948.  A₀ = √(Σᵣ/s) Vᵣ,  B₀ = Uᵣ √(Σᵣ/s) of the r largest; pissa_niter_N: by N rounds of
 *               subspace iteration (arXiv:0909.4061, algorithm 5.1)
 *   olora       arXiv:2406.01775.  W = Q R,  A₀ = R's first r rows,  B₀ = Q's first r columns
 *   eva, corda, lora_ga   from the training data: lora-eva.ts, lora-corda.ts, lora-ga.ts
 *   loftq       arXiv:2310.08659.  Q = W quantized and dequantized, and of W - Q = U Σ V  B = Uᵣ √Σᵣ, A = √Σᵣ Vᵣ; then with
 *               Q of W - BA, loftq_iter times. The run multiplies its rows by Q instead of W: PEFT quantizes the base so
 * PiSSA, OLoRA, CorDA and LoRA-GA start with A = A₀, B = B₀ and subtract s B₀A₀ from W. Here runs share W, which stays
 * unchanged: the update is s (B A - B₀A₀). Files store [A; A₀] and [B, -B₀], a LoRA of rank 2r on the unchanged W, as
 * PEFT's `path_initial_model_for_weight_conversion` writes it. PEFT's own files without A₀ can be read if W determines
 * A₀.
 */
import {
  abs,
  amax,
  contiguous,
  dequantizeNf4,
  div,
  keep,
  matmul,
  mul,
  narrow,
  neg,
  noGrad,
  onesLike,
  qr,
  quantizeNf4,
  reshape,
  round,
  select,
  sqrt,
  sub,
  svd,
  tidy,
  to,
  transpose,
  unsqueeze,
  zeros,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { Linear } from '../../nn/layers/linear.js';
import type { LinearShape } from '../../nn/outline/outline.js';
import { factorShapes } from './lora-variants.js';
import type { Blocks } from './lora-variants.js';
import type { NamedTensors } from '../method.js';
import type { ModuleParameters } from '../frame/parameters.js';

const PISSA_BY_ROUNDS = /^pissa_niter_\d{1,3}$/;

export const initLoraWeights = z
  .union([
    z.boolean(),
    z.enum([
      'gaussian',
      'orthogonal',
      'pissa',
      'olora',
      'mica',
      'eva',
      'corda',
      'lora_ga',
      'loftq',
    ]),
    z.string().regex(PISSA_BY_ROUNDS),
  ])
  .default(true)
  .describe(
    'true: the adapter is initialized to a no-op; "gaussian": also, with normally distributed A; "orthogonal": A and B are nonzero but their product is zero; ' +
      '"pissa" trains the principal singular components of each weight (slow to initialize on large models; "pissa_niter_16" approximates them quickly), ' +
      '"olora" the first components of its QR decomposition, "mica" the minor singular components, with B frozen; "eva", "corda" and "lora_ga" use the training data: ' +
      'EVA assigns ranks by explained variance, LoRA-GA starts along the gradient; "loftq" compensates for quantization; false: randomly, for tests',
  );

export const loftqConfig = z
  .strictObject({
    loftq_bits: z.union([z.literal(4), z.literal(8)]).optional(),
    loftq_iter: z.int().min(1).max(100).optional(),
  })
  .default({})
  .describe('LoftQ: bits of the quantized weights (4: NF4, 8: int8) and number of iterations');
export type LoftqConfig = z.infer<typeof loftqConfig>;

/** LoftQ options with PEFT's defaults. */
const loftqOf = (config: LoftqConfig | null): Required<LoftqConfig> => ({
  loftq_bits: config?.loftq_bits ?? 4,
  loftq_iter: config?.loftq_iter ?? 1,
});

export type LoraInit = z.infer<typeof initLoraWeights>;

/** Whether the update starts with a part of W, which is then subtracted from W. */
export const takesFromWeight = (init: LoraInit): boolean =>
  init === 'olora' || isFound(init) || isPissa(init);

/** Whether the start is PiSSA, by a full decomposition or by subspace iteration. */
export const isPissa = (init: LoraInit): boolean =>
  typeof init === 'string' && init.startsWith('pissa');

/** Whether the subtracted part is computed from the training data. */
const isFound = (init: LoraInit): boolean => init === 'corda' || init === 'lora_ga';

export interface LoraSize {
  readonly r: number;
  readonly scale: number;
}

export interface Factors {
  readonly a: Tensor;
  readonly b: Tensor;
  /** A₀ and -B₀ if the update starts with a part of W. */
  readonly taken: { readonly a: Tensor; readonly b: Tensor } | null;
  /** The run's own weight [out, in], which replaces the base's. */
  readonly weight?: Tensor;
}

/** Inputs of a start, in addition to the linear layer. */
export interface LoraStart {
  readonly init_lora_weights: LoraInit;
  readonly loftq_config: LoftqConfig | null;
  /** Calibration statistics from the training data. */
  readonly found?: NamedTensors | undefined;
}

/** Checks the rank. @throws DomainError if the start does not support this rank */
export function checkRank(
  { path, inFeatures, outFeatures, transposed }: LinearShape | Linear,
  init: LoraInit,
  r: number,
): void {
  const refuse = (what: string): never => {
    const message = `init_lora_weights ${JSON.stringify(init)} requires ${what}, but ${path} has rank ${r}`;
    throw new DomainError('invalid_value', message, 'peft.init_lora_weights');
  };
  if (init === 'orthogonal' && r % 2 !== 0) refuse('an even rank');
  const smaller = Math.min(inFeatures, outFeatures);
  const most = init === 'lora_ga' ? Math.floor(smaller / 2) : smaller;
  if ((takesFromWeight(init) || init === 'mica' || init === 'loftq') && r > most)
    refuse(`a rank of at most ${most} for a weight of shape [${outFeatures}, ${inFeatures}]`);
  if (init === 'loftq' && transposed) {
    const message = `init_lora_weights "loftq" cannot be combined with ${path}: its weight is stored as [in, out] (Conv1D), which PEFT does not support`;
    throw new DomainError('unsupported', message, 'peft.init_lora_weights');
  }
}

export function makeFactors(
  target: Linear,
  start: LoraStart,
  size: LoraSize,
  parameters: ModuleParameters,
  blocks: Blocks | null = null,
): Factors {
  const { init_lora_weights: init, found } = start;
  checkRank(target, init, size.r);
  if (isFound(init)) return shown(target, start, size, parameters);
  if (takesFromWeight(init)) return taken(target, init, size, parameters);
  if (init === 'loftq') return loftq(target, size.r, loftqOf(start.loftq_config), parameters);
  const { inFeatures } = target;
  const { r } = size;
  if (init === 'mica') {
    const a = parameters.zeros('lora_A', [r, inFeatures]);
    return { a, b: parameters.constant('lora_B', () => minor(target, r)), taken: null };
  }
  if (init === 'orthogonal') return { ...orthogonal(target, r, parameters), taken: null };
  const { lora_A: down, lora_B: up } = factorShapes(target, blocks, r);
  const seen = init === 'eva' ? found?.get(`${target.path}.lora_A`) : undefined;
  // PEFT initializes blocks separately: A's at √6 times the usual bound, B's at zero
  const a = seen
    ? parameters.parameter('lora_A', () => seen)
    : blocks?.part === 'a'
      ? parameters.uniform('lora_A', down, Math.sqrt(6 / (down[1] as number)))
      : init === 'gaussian'
        ? parameters.normal('lora_A', down, 1 / r)
        : parameters.uniform('lora_A', down, 1 / Math.sqrt(inFeatures));
  const b =
    init === false && blocks?.part !== 'b'
      ? parameters.uniform('lora_B', up, 1 / Math.sqrt(r))
      : parameters.zeros('lora_B', up);
  return { a, b, taken: null };
}

function orthogonal(
  { inFeatures, outFeatures }: Linear,
  r: number,
  parameters: ModuleParameters,
): Pick<Factors, 'a' | 'b'> {
  const half = r / 2;
  return noGrad(() =>
    tidy(() => {
      const { q } = qr(parameters.noise('lora_A.orthogonal', [r, r]));
      // [r, r] → rows 0, 2, … and 1, 3, …, each [r / 2, r]
      const pairs = reshape(q, [half, 2, r]);
      const spread = (part: string, features: number, row: number): Tensor =>
        mul(matmul(parameters.noise(part, [features, half]), select(pairs, 1, row)), 0.1);
      return {
        a: parameters.parameter('lora_A', () =>
          transpose(spread('lora_A.noise', inFeatures, 0), 0, 1),
        ),
        b: parameters.parameter('lora_B', () => spread('lora_B.noise', outFeatures, 1)),
      };
    }),
  );
}

/** The left singular vectors of the r smallest singular values. */
function minor({ weight, outFeatures, inFeatures }: Linear, r: number): Tensor {
  return noGrad(() => {
    const { u } = svd(weight.dense('f32'));
    return narrow(u, 1, Math.min(outFeatures, inFeatures) - r, r);
  });
}

function taken(
  target: Linear,
  init: LoraInit,
  { r, scale }: LoraSize,
  parameters: ModuleParameters,
): Factors {
  return noGrad(() =>
    tidy(() => {
      const w = target.weight.dense('f32');
      const first = init === 'olora' ? leading(w, r) : principal(w, init, { r, scale }, parameters);
      const rounds = typeof init === 'string' && PISSA_BY_ROUNDS.test(init);
      // PEFT's own files do not store what was subtracted from W: it has to be recomputed from W alone
      const lost = rounds
        ? `init_lora_weights "${init}" draws random numbers`
        : init === 'olora' && target.transposed
          ? `PEFT's "olora" treats weights that are stored [in, out] as [out, in]`
          : null;
      return {
        a: parameters.parameter('lora_A', () => first.a),
        b: parameters.parameter('lora_B', () => first.b),
        taken: {
          a: parameters.behind('lora_A', 0, first.a, lost),
          b: parameters.behind('lora_B', 1, neg(first.b), lost),
        },
      };
    }),
  );
}

/** Subtracted factors that come from the training data; an adapter read from a file stores them. */
function shown(
  { path, inFeatures, outFeatures }: Linear,
  { init_lora_weights: init, found }: LoraStart,
  { r }: LoraSize,
  parameters: ModuleParameters,
): Factors {
  const [down, up] = [found?.get(`${path}.lora_A`), found?.get(`${path}.lora_B`)];
  const lost = `init_lora_weights "${String(init)}" depends on the training data`;
  return noGrad(() =>
    tidy(() => ({
      a: down
        ? parameters.parameter('lora_A', () => down)
        : parameters.uniform('lora_A', [r, inFeatures], 1 / Math.sqrt(inFeatures)),
      b: up
        ? parameters.parameter('lora_B', () => up)
        : parameters.zeros('lora_B', [outFeatures, r]),
      taken: {
        a: parameters.behind('lora_A', 0, down ?? zeros([r, inFeatures]), lost),
        b: parameters.behind('lora_B', 1, up ? neg(up) : zeros([outFeatures, r]), lost),
      },
    })),
  );
}

function loftq(
  { weight }: Linear,
  r: number,
  { loftq_bits: bits, loftq_iter: times }: Required<LoftqConfig>,
  parameters: ModuleParameters,
): Factors {
  return noGrad(() =>
    tidy(() => {
      const w = weight.dense('f32');
      let rest = w;
      let own = w;
      let first = { a: w, b: w };
      for (let time = 0; time < times; time++) {
        own = packedAndRead(rest, bits);
        const { u, s, vh } = svd(sub(w, own));
        const root = sqrt(narrow(s, 0, 0, r));
        first = {
          a: mul(narrow(vh, 0, 0, r), unsqueeze(root, 1)),
          b: mul(narrow(u, 1, 0, r), root),
        };
        rest = sub(w, matmul(first.b, first.a));
      }
      return {
        a: parameters.parameter('lora_A', () => first.a),
        b: parameters.parameter('lora_B', () => first.b),
        taken: null,
        weight: parameters.constant('loftq', () => own, false),
      };
    }),
  );
}

/**
 * Quantizes and dequantizes as bitsandbytes does: NF4 in blocks of 64, or int8 with a scale for each row, starting in
 * f16.
 */
function packedAndRead(w: Tensor, bits: number): Tensor {
  if (bits === 4)
    return dequantizeNf4(quantizeNf4(w, { blocksize: 64, doubleQuant: false }), 'f32');
  const halves = to(to(w, 'f16'), 'f32');
  const largest = amax(abs(halves), 1, true);
  const scale = div(mul(onesLike(largest), 127), largest);
  return mul(mul(round(mul(halves, scale)), largest), 1 / 127);
}

type Pair = Pick<Factors, 'a' | 'b'>;

function leading(w: Tensor, r: number): Pair {
  const factors = qr(w);
  return { a: narrow(factors.r, 0, 0, r), b: narrow(factors.q, 1, 0, r) };
}

function principal(
  w: Tensor,
  init: LoraInit,
  { r, scale }: LoraSize,
  parameters: ModuleParameters,
): Pair {
  const rounds = Number(/\d+$/.exec(String(init))?.[0] ?? NaN);
  const { u, s, vh } = Number.isNaN(rounds)
    ? svd(w)
    : lowRankSvd(w, parameters.noise('lora_A.noise', [Math.min(...w.shape), r]), rounds);
  const root = sqrt(div(narrow(s, 0, 0, r), scale));
  return {
    a: contiguous(mul(narrow(vh, 0, 0, r), unsqueeze(root, 1))),
    b: contiguous(mul(narrow(u, 1, 0, r), root)),
  };
}

/** The r largest singular parts of W, approximately, as in torch.svd_lowrank. start: [min(in, out), r] of N(0, 1) */
export function lowRankSvd(w: Tensor, start: Tensor, rounds: number): ReturnType<typeof svd> {
  const [m, n] = w.shape as [number, number];
  const tall = m < n ? transpose(w, 0, 1) : w;
  const flat = transpose(tall, 0, 1);
  let { q } = qr(matmul(tall, start));
  for (let round = 0; round < rounds; round++) ({ q } = qr(matmul(tall, qr(matmul(flat, q)).q)));
  const { u, s, vh } = svd(matmul(transpose(q, 0, 1), tall));
  const left = matmul(q, u);
  return m < n ? { u: transpose(vh, 0, 1), s, vh: transpose(left, 0, 1) } : { u: left, s, vh };
}

/**
 * Computes the initial A and B of each linear layer, by part name. The caller disposes them.
 * @param onModule called after each linear layer
 */
export function startingFactors(
  linears: readonly Linear[],
  factors: (linear: Linear) => readonly [a: Tensor, b: Tensor],
  onModule?: (done: number, of: number) => void,
): Map<string, Tensor> {
  const made = new Map<string, Tensor>();
  try {
    for (const [i, linear] of linears.entries()) {
      const [a, b] = noGrad(() => tidy(() => factors(linear)));
      made.set(`${linear.path}.lora_A`, keep(a)).set(`${linear.path}.lora_B`, keep(b));
      onModule?.(i + 1, linears.length);
    }
  } catch (error) {
    made.forEach((tensor) => tensor.dispose());
    throw error;
  }
  return made;
}
