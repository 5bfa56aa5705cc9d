/**
 * Multitask prompt tuning, arXiv:2303.02861: the prompts of several tasks are one matrix, scaled by a low-rank matrix
 * for each task. Records select their task (`task_ids`).
 *   P_t = E ⊙ (U_t V_t)      E: [p, D], U_t: [p, r], V_t: [r, D], for each task t; all trained
 * U and V start at N(0, 0.02²). From prompts of source tasks (`graft.init_adapter`) a new task takes E, and U and V as
 * the means over the tasks (AVERAGE_SOURCE_TASKS), those of one task (EXACT_SOURCE_TASK), or new ones.
 */
import { mean, mul, matmul, narrow, select, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import { rank, resolvedFields, virtualTokens } from './frame/fields.js';
import { normal } from '../nn/random-init.js';
import type { PartShapes } from './frame/parameters.js';
import { checkText, rowsOfText, textFields } from './frame/prompt-text.js';
import type { ModelShape } from '../nn/outline/outline.js';
import { INPUTS, softPrompt, TABLE } from './frame/soft-prompt.js';

const Options = z
  .strictObject({
    num_virtual_tokens: virtualTokens,
    num_tasks: z
      .int()
      .min(1)
      .max(10_000)
      .default(1)
      .describe(
        'Number of tasks. With more than one, each record sets its task (counted from 0) in task_ids',
      ),
    num_ranks: rank.default(1).describe('Rank of the task-specific matrices'),
    prompt_tuning_init: z
      .enum(['RANDOM', 'TEXT', 'AVERAGE_SOURCE_TASKS', 'EXACT_SOURCE_TASK', 'ONLY_SOURCE_SHARED'])
      .default('RANDOM')
      .describe(
        'Initialization: random, the embeddings of a text, or the prompts of the source tasks in graft.init_adapter (their average, one of them, or only the shared part)',
      ),
    prompt_tuning_init_task: z
      .int()
      .min(0)
      .default(0)
      .describe('Index of the source task, with EXACT_SOURCE_TASK'),
    ...textFields,
    ...resolvedFields,
  })
  .superRefine((options, ctx) => {
    checkText(options, ctx);
    const { prompt_tuning_init: init, num_tasks: tasks } = options;
    if (!TO_ONE.has(init) || tasks === 1) return;
    const message = `expected 1 with prompt_tuning_init ${init}, which starts a single task from the source, got ${tasks}`;
    ctx.addIssue({ code: 'custom', message, path: ['num_tasks'] });
  });
type Options = z.infer<typeof Options>;

/** Initializations that derive one task from the tasks of a source. */
const TO_ONE: ReadonlySet<string> = new Set(['AVERAGE_SOURCE_TASKS', 'EXACT_SOURCE_TASK']);
const isFromSource = ({ prompt_tuning_init: init }: Options): boolean =>
  TO_ONE.has(init) || init === 'ONLY_SOURCE_SHARED';

/** PEFT's names of the tensors. */
const SHARED = 'embedding.weight';
const COLS = 'prefix_task_cols';
const ROWS = 'prefix_task_rows';

const shapes = (options: Options, model: ModelShape): PartShapes => {
  const { num_virtual_tokens: p, num_tasks: tasks, num_ranks: ranks } = options;
  const [rows, d] = [INPUTS.rows(model, p), model.embeddingSize];
  return { [SHARED]: [rows, d], [COLS]: [tasks, rows, ranks], [ROWS]: [tasks, ranks, d] };
};

export const multitaskPromptTuning = softPrompt<Options>({
  name: 'MULTITASK_PROMPT_TUNING',
  title: 'Multitask prompt tuning',
  summary:
    'One shared prompt with a small low-rank part per task. Records and chats select their task with task_ids.',
  paper: 'https://arxiv.org/abs/2303.02861',
  defaultLearningRate: 3e-2,
  options: Options,
  unsupported: {
    modules_to_save: null,
    tokenizer_kwargs: null,
    prompt_tuning_init_state_dict_path: null,
  },
  reasons: {
    prompt_tuning_init_state_dict_path:
      'the server cannot read your files; set graft.init_adapter to the adapter of the source tasks (or, to import an adapter, set prompt_tuning_init to RANDOM in its adapter_config.json)',
  },
  requires: 'task_ids',
  tasks: ({ num_tasks: tasks }) => tasks,
  place: INPUTS,
  fits(options, { warmStart }) {
    if (warmStart || !isFromSource(options)) return;
    const message = `prompt_tuning_init ${options.prompt_tuning_init} starts from the prompts of other tasks: set graft.init_adapter to their adapter`;
    throw new DomainError('invalid_value', message, 'peft.prompt_tuning_init');
  },
  tensors: { [TABLE]: 'prompt', [COLS]: 'prompt', [ROWS]: 'prompt' },
  shapes,
  start(name, shape, setup) {
    const { options, seed } = setup;
    if (name !== SHARED) return normal(shape, 0.02, seed, name);
    return options.prompt_tuning_init === 'TEXT'
      ? rowsOfText(options.prompt_tuning_init_text as string, shape[0] as number, setup)
      : normal(shape, 1, seed, name);
  },
  table: (part, _, __, taskId) =>
    tidy(() =>
      mul(part(SHARED), matmul(select(part(COLS), 0, taskId), select(part(ROWS), 0, taskId))),
    ),
  file: {
    shapes(options, model) {
      const { [SHARED]: table, [COLS]: cols, [ROWS]: rows } = shapes(options, model);
      // any number of tasks; `begin` decides
      const any = (shape: readonly number[] | undefined): number[] => [
        -1,
        ...(shape ?? []).slice(1),
      ];
      return { [TABLE]: table as readonly number[], [COLS]: any(cols), [ROWS]: any(rows) };
    },
    parts: (part) => ({ [TABLE]: part(SHARED), [COLS]: part(COLS), [ROWS]: part(ROWS) }),
  },
  begin(stored, { options, seed }) {
    const [cols, rows] = [COLS, ROWS].map((name) =>
      ofTasks(stored(name), options, (shape) => normal(shape, 0.02, seed, name)),
    ) as [Tensor, Tensor];
    return { [SHARED]: stored(TABLE), [COLS]: cols, [ROWS]: rows };
  },
  // the exported config must not name a source: PEFT would look for its path again
  resolved: (options) => ({
    prompt_tuning_init: isFromSource(options) ? 'RANDOM' : options.prompt_tuning_init,
  }),
});

/**
 * Initial tensor [tasks, …] of a job from that of a file.
 * @param drawn samples an initial tensor of a shape
 * @throws DomainError if the file has a different number of tasks, or lacks the chosen one
 */
function ofTasks(
  stored: Tensor,
  { prompt_tuning_init: init, prompt_tuning_init_task: task, num_tasks: tasks }: Options,
  drawn: (shape: readonly number[]) => Tensor,
): Tensor {
  const [theirs, ...others] = stored.shape as [number, ...number[]];
  if (init === 'AVERAGE_SOURCE_TASKS') return mean(stored, 0, true);
  if (init === 'ONLY_SOURCE_SHARED') return drawn([tasks, ...others]);
  if (init === 'EXACT_SOURCE_TASK') {
    if (task < theirs) return narrow(stored, 0, task, 1);
    const message = `expected a task of the source, 0 to ${theirs - 1}, got ${task}`;
    throw new DomainError('invalid_value', message, 'peft.prompt_tuning_init_task');
  }
  if (theirs === tasks) return stored;
  const message = `the adapter has ${theirs} tasks, but num_tasks is ${tasks}; set prompt_tuning_init to select the initial prompts`;
  throw new DomainError('invalid_adapter', message, 'peft.num_tasks');
}
