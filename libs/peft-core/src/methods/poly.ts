/**
 * Polytropon, arXiv:2202.13914, and with n_splits > 1 multi-head routing, arXiv:2211.03831: each task is a mixture of S
 * skills, which are LoRAs. Records select their task (`task_ids`).
 *   y += x A_t B_t / r      A_t = Σ_s p_ts A_s  [in, r],  B_t = Σ_s p_ts B_s  [r, out]      p_t = w / Σ_s w,  w = σ(z_t)
 * x: [n, in]  A: [Q, S, in/Q, r]  B: [Q, S, r, out/Q]  z: [tasks, Q S]; each of the Q parts of the features has its own
 * mixture. All are f32; products are computed in x's dtype. In training w is sampled as in PEFT (a relaxed Bernoulli of
 * temperature 1: σ(z + ln u - ln(1 - u)), u ~ U(0, 1)), here once for each task in a forward pass.
 */
import {
  add,
  cat,
  clamp,
  counterUniform,
  div,
  log,
  matmul,
  narrow,
  neg,
  permute,
  reshape,
  select,
  sigmoid,
  sub,
  sum,
  tidy,
  to,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { LinearContext } from '../nn/layers/linear.js';
import type { LinearShape } from '../nn/outline/outline.js';
import { modulesToSave, rank, targetFields } from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import type { LinearUpdate } from './frame/linear-method.js';
import type { ModuleParameters, PartShapes } from './frame/parameters.js';

const Options = z.strictObject({
  r: rank.default(8).describe('Rank of each skill (LoRA)'),
  ...targetFields('query and value projections'),
  modules_to_save: modulesToSave,
  init_weights: z
    .boolean()
    .default(true)
    .describe('true: the adapter is initialized to a no-op; false: randomly, for tests'),
  poly_type: z
    .literal('poly')
    .default('poly')
    .describe('Type of the router; only one is supported'),
  n_tasks: z
    .int()
    .min(1)
    .max(10_000)
    .default(1)
    .describe(
      'Number of tasks. With more than one, each record sets its task (counted from 0) in task_ids',
    ),
  n_skills: z
    .int()
    .min(1)
    .max(1024)
    .default(4)
    .describe('Number of skills (LoRAs) that are mixed for each task'),
  n_splits: z
    .int()
    .min(1)
    .max(1024)
    .default(1)
    .describe('Number of feature splits, each with its own mixture (multi-head routing)'),
});
type Options = z.infer<typeof Options>;

type Size = Pick<LinearShape, 'path' | 'role' | 'inFeatures' | 'outFeatures'>;

export const poly = linearMethod<Options>({
  name: 'POLY',
  title: 'Polytropon',
  summary:
    'A mixture of shared skills for each task. Records and chats select their task with task_ids.',
  paper: 'https://arxiv.org/abs/2202.13914',
  defaultLearningRate: 2e-4,
  options: Options,
  unsupported: {},
  requires: 'task_ids',
  unmerged: 'its update differs by task',
  tasks: ({ n_tasks: tasks }) => tasks,
  tensors: {
    poly_lora_A: 'parameter',
    poly_lora_B: 'parameter',
    'poly_router.module_logits': 'parameter',
  },
  defaultTargets: () => ['q', 'v'],
  conv1d: false,
  // the mixtures of all tasks of a forward pass, and their intermediate results
  held: (targets, { r, n_tasks: tasks }) => ({
    numbers: targets.reduce(
      (sum, { inFeatures, outFeatures }) =>
        sum + 2 * Math.min(tasks, MOST_TASKS) * r * (inFeatures + outFeatures),
      0,
    ),
  }),
  shapes: (options) => (linear) => partsOf(options, linear),
  adapt: (options) => (target, parameters) => new PolyLinear(target, options, parameters),
});

/** Maximum number of tasks in a forward pass, which has few examples. */
const MOST_TASKS = 16;

/**
 * Returns the shapes of the parts. @throws DomainError if PEFT rejects the sizes, or if the target receives single rows
 */
function partsOf(options: Options, { path, role, inFeatures, outFeatures }: Size): PartShapes {
  const { r, n_tasks: tasks, n_skills: skills, n_splits: splits } = options;
  for (const size of [inFeatures, outFeatures]) {
    if (size % splits === 0) continue;
    const message = `expected a number that divides the features of ${path}, ${inFeatures} in and ${outFeatures} out, got ${splits}`;
    throw new DomainError('invalid_value', message, 'peft.n_splits');
  }
  if (role === 'head') {
    const message = `target_modules: POLY does not support ${path}: the head receives single rows without their tasks`;
    throw new DomainError('unsupported', message, 'peft.target_modules');
  }
  return {
    poly_lora_A: [splits, skills, inFeatures / splits, r],
    poly_lora_B: [splits, skills, r, outFeatures / splits],
    'poly_router.module_logits': [tasks, splits * skills],
  };
}

const SMALLEST_SUM = 1e-12;
/** Machine epsilon of f32: PyTorch clamps u to [ε, 1 - ε]. */
const EPSILON = 2 ** -23;

class PolyLinear implements LinearUpdate {
  readonly #a: Tensor;
  readonly #b: Tensor;
  readonly #logits: Tensor;

  constructor(
    target: Size,
    private readonly options: Options,
    parameters: ModuleParameters,
  ) {
    const {
      poly_lora_A: a,
      poly_lora_B: b,
      'poly_router.module_logits': logits,
    } = partsOf(options, target) as Record<string, readonly number[]>;
    const [, , features] = a as [number, number, number];
    this.#a = parameters.uniform('poly_lora_A', a as number[], 1 / Math.sqrt(features));
    this.#b = options.init_weights
      ? parameters.zeros('poly_lora_B', b as number[])
      : parameters.uniform('poly_lora_B', b as number[], 1 / Math.sqrt(options.r));
    this.#logits = parameters.uniform('poly_router.module_logits', logits as number[], 1e-3);
  }

  after(y: Tensor, x: Tensor, ctx: LinearContext): Tensor {
    return tidy(() => {
      const mixed = new Map<number, Mixture>();
      const of = (taskId: number): Mixture => {
        const mixture = mixed.get(taskId) ?? this.#mixture(taskId, ctx);
        mixed.set(taskId, mixture);
        return mixture;
      };
      const spans = spansOf(x.shape[0] as number, ctx.tasks());
      const updates = spans.map(({ taskId, start, length }) => {
        const { a, b } = of(taskId);
        const rows = spans.length === 1 ? x : narrow(x, 0, start, length);
        return matmul(matmul(rows, to(a, x.dtype)), to(b, x.dtype));
      });
      return add(
        y,
        updates.length === 1 ? (updates[0] as Tensor) : cat(updates),
        1 / this.options.r,
      );
    });
  }

  /** A_t and B_t. */
  #mixture(taskId: number, ctx: LinearContext): Mixture {
    const { n_splits: splits, n_skills: skills, r } = this.options;
    const z = reshape(select(this.#logits, 0, taskId), [splits, 1, skills]);
    const w = sigmoid(ctx.training ? add(z, noiseOf(z, taskId, ctx)) : z);
    const p = div(w, add(sum(w, [-1], true), SMALLEST_SUM));
    const mix = (parts: Tensor): Tensor => matmul(p, reshape(parts, [splits, skills, -1]));
    const [features, outputs] = [this.#a.shape[2] as number, this.#b.shape[3] as number];
    const up = permute(reshape(mix(this.#b), [splits, r, outputs]), [1, 0, 2]);
    return {
      a: reshape(mix(this.#a), [splits * features, r]),
      b: reshape(up, [r, splits * outputs]),
    };
  }
}

interface Mixture {
  /** [in, r] */
  readonly a: Tensor;
  /** [r, out] */
  readonly b: Tensor;
}

/** ln u - ln(1 - u), in z's shape and different for each task. */
function noiseOf(z: Tensor, taskId: number, { key, module }: LinearContext): Tensor {
  const drawn = counterUniform(z.shape, { ...key, site: module }, taskId * z.size);
  const u = clamp(drawn, EPSILON, 1 - EPSILON);
  return sub(log(u), log(add(neg(u), 1)));
}

interface TaskSpan {
  readonly taskId: number;
  readonly start: number;
  readonly length: number;
}

/** Consecutive rows of one task; sequences without a task belong to the first. */
function spansOf(rows: number, tasks: ReturnType<LinearContext['tasks']>): TaskSpan[] {
  if (tasks.length === 0) return [{ taskId: 0, start: 0, length: rows }];
  const spans: { taskId: number; start: number; length: number }[] = [];
  let start = 0;
  for (const { taskId, length } of tasks) {
    const last = spans.at(-1);
    if (last?.taskId === taskId) last.length += length;
    else spans.push({ taskId, start, length });
    start += length;
  }
  return spans;
}
