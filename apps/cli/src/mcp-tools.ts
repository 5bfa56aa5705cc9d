import {
  JOB_STATUSES,
  methodTitle,
  type Catalog,
  type CheckpointObject,
  type FileObject,
  type JobEventObject,
  type JobObject,
  type JobPreviewObject,
  type MetricsObject,
  type Page,
  type SweepObject,
} from '@graft/contracts';
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import type { Api } from './client/api.js';
import { CliError } from './cli-error.js';
import { findJob, findJobId, jobPath } from './find/find-job.js';
import { findSweepId, sweepPath } from './find/find-sweep.js';

// Tools for assistants. Each calls the REST API and returns JSON.

const limit = (most: number, usual: number) =>
  z.int().min(1).max(most).default(usual).describe('Maximum number');
const job = z.string().min(1).describe('Id, prefix of the id, or suffix');
const body = z
  .record(z.string(), z.unknown())
  .describe(
    'Body of POST /v1/fine_tuning/jobs: model and training_file (ids), and optionally validation_file, suffix, hyperparameters {n_epochs, batch_size}, peft (a Hugging Face PEFT configuration with peft_type), graft {task, learning_rate, max_seq_len, pool, …}',
  );

const sweep = job;
const sweepBody = z
  .record(z.string(), z.unknown())
  .describe(
    'Body of POST /v1/sweeps: the fields of a job, and search {algorithm: "grid", "random" or "asha", parameters: {path of a field, such as "peft.r" or "graft.learning_rate": a list of values or {min, max, log}}, max_trials, metric: "valid_loss" or "eval_score"}',
  );

/** Default number of points of a curve, enough to see its shape. */
const POINTS = 60;

export function addReadingTools(server: McpServer, api: Api): void {
  const tool = toolOf(server, { readOnlyHint: true, openWorldHint: false });
  tool(
    'list_jobs',
    'Fine-tuning jobs, newest first: state, base model, method, progress and losses',
    {
      limit: limit(100, 20),
      status: z.enum(JOB_STATUSES).optional(),
      search: z.string().max(200).optional().describe('Words in ids, names, models, errors, …'),
    },
    async ({ limit: most, status, search }) => {
      const query = new URLSearchParams({ status: status ?? '', search: search ?? '' });
      return (await api.all<JobObject>(`/fine_tuning/jobs?${query}`, most)).map(brief);
    },
  );
  tool('get_job', 'One fine-tuning job in full', { job }, ({ job: name }) => findJob(api, name));
  tool(
    'list_job_events',
    'Events of a job, newest first: state changes, steps, warnings and errors',
    { job, limit: limit(1000, 50) },
    async ({ job: name, limit: most }) => {
      const path = `${jobPath(await findJobId(api, name))}/events`;
      const events = await api.all<JobEventObject>(path, most);
      return events.map(({ created_at, level, message }) => ({ created_at, level, message }));
    },
  );
  tool(
    'get_job_metrics',
    'Metrics of a job as columns: losses, learning rate and others at evenly spaced steps, and all evaluations',
    { job, points: limit(2000, POINTS) },
    async ({ job: name, points }) => {
      const path = `${jobPath(await findJobId(api, name))}/metrics`;
      return thinned(await api.get<MetricsObject>(path), points);
    },
  );
  tool(
    'list_checkpoints',
    'Checkpoints of a job, newest first, with the metrics of each',
    { job },
    async ({ job: name }) => {
      const path = `${jobPath(await findJobId(api, name))}/checkpoints?limit=100`;
      return (await api.get<Page<CheckpointObject>>(path)).data;
    },
  );
  addSweepTools(tool, api);
  tool(
    'list_models',
    'Base models and fine-tuned models',
    {},
    async () => (await api.get<Page<unknown>>('/models')).data,
  );
  tool(
    'list_files',
    'Training data and other files, newest first',
    { limit: limit(1000, 50) },
    ({ limit: most }) => api.all<FileObject>('/files', most),
  );
  tool(
    'list_workers',
    'Workers and their running jobs',
    {},
    async () => (await api.get<Page<unknown>>('/workers')).data,
  );
  addCatalogTool(tool, api);
  tool(
    'preview_job',
    'Plan of a job without creating it: steps, tokens, time, memory, warnings, or the validation error',
    { body },
    ({ body: request }) => api.post<JobPreviewObject>('/fine_tuning/jobs/preview', request),
  );
}

function addCatalogTool(tool: ReturnType<typeof toolOf>, api: Api): void {
  tool(
    'get_catalog',
    'Names of the methods, tasks, model families and quantizers. With a name: that entry with the JSON schema of its options',
    {
      name: z
        .string()
        .min(1)
        .max(100)
        .optional()
        .describe(
          'A listed name, or "graft" for the options of every job. Default: list the names',
        ),
    },
    async ({ name }) => {
      const catalog = await api.get<Catalog>('/catalog');
      return name === undefined ? catalogNames(catalog) : catalogEntry(catalog, name);
    },
  );
}

function addSweepTools(tool: ReturnType<typeof toolOf>, api: Api): void {
  tool(
    'list_sweeps',
    'Sweeps, newest first: searches over methods or options, with their progress and the best model so far',
    { limit: limit(100, 20) },
    ({ limit: most }) => api.all<SweepObject>('/sweeps', most),
  );
  tool(
    'get_sweep',
    'A sweep with its trials: options, state, score, forgetting, time, memory and size',
    { sweep },
    async ({ sweep: name }) => api.get<SweepObject>(sweepPath(await findSweepId(api, name))),
  );
}

export function addChangingTools(server: McpServer, api: Api): void {
  const create = toolOf(server, { ...CHANGES, destructiveHint: false });
  const cancel = toolOf(server, { ...CHANGES, destructiveHint: true, idempotentHint: true });
  create(
    'create_job',
    'Creates a fine-tuning job. It uses worker time; preview_job estimates how much',
    { body },
    ({ body: request }) => api.post<JobObject>('/fine_tuning/jobs', request),
  );
  cancel(
    'cancel_job',
    'Cancels a job permanently; its checkpoints remain',
    { job },
    async ({ job: name }) => api.post<JobObject>(`${jobPath(await findJobId(api, name))}/cancel`),
  );
  create(
    'create_sweep',
    'Creates a sweep with one job per trial; preview_job estimates the time of one job',
    { body: sweepBody },
    ({ body: request }) => api.post<SweepObject>('/sweeps', request),
  );
  cancel(
    'cancel_sweep',
    'Cancels the remaining trials of a sweep permanently; models of finished trials remain',
    { sweep },
    async ({ sweep: name }) =>
      api.post<SweepObject>(`${sweepPath(await findSweepId(api, name))}/cancel`),
  );
}

const CHANGES = { readOnlyHint: false, openWorldHint: false };

interface Hints {
  readonly readOnlyHint: boolean;
  readonly openWorldHint: boolean;
  readonly destructiveHint?: boolean;
  readonly idempotentHint?: boolean;
}

const toolOf =
  (server: McpServer, annotations: Hints) =>
  <Shape extends z.ZodRawShape>(
    name: string,
    description: string,
    shape: Shape,
    answer: (args: z.output<z.ZodObject<Shape>>) => unknown,
  ): void => {
    const inputSchema: z.ZodType = z.strictObject(shape);
    server.registerTool(
      name,
      { description, inputSchema, annotations },
      // The SDK returns the message of a thrown error to the assistant.
      async (args): Promise<CallToolResult> => {
        const value = await answer(args as z.output<z.ZodObject<Shape>>);
        return { content: [{ type: 'text', text: JSON.stringify(value) }] };
      },
    );
  };

/** Titles of the catalog's entries by name. */
const catalogNames = ({ methods, tasks, families, quantizers }: Catalog) => ({
  methods: Object.fromEntries(methods.map(({ peft_type: name, title }) => [name, title])),
  tasks: Object.fromEntries(tasks.map(({ name, title }) => [name, title])),
  families: Object.fromEntries(families.map(({ name, title }) => [name, title])),
  quantizers: Object.fromEntries(quantizers.map(({ name, title }) => [name, title])),
  graft: 'Options of every job',
});

function catalogEntry(catalog: Catalog, entry: string): object {
  const { methods, tasks, families, quantizers, graft_schema: graft } = catalog;
  if (entry === 'graft') return graft;
  const is = (name: string): boolean => name.toLowerCase() === entry.toLowerCase();
  const found =
    methods.find(({ peft_type: name }) => is(name)) ??
    [...tasks, ...families, ...quantizers].find(({ name }) => is(name));
  if (found) return found;
  throw new CliError(
    `the catalog has no entry named ${entry}; call get_catalog without a name to list the names`,
  );
}

const brief = ({ id, status, model, user_provided_suffix, peft, graft, ...job }: JobObject) => ({
  id,
  name: graft.name,
  suffix: user_provided_suffix,
  tags: graft.tags,
  status,
  phase: graft.phase.message,
  model,
  fine_tuned_model: job.fine_tuned_model,
  kind: graft.operation?.type ?? 'training',
  method: methodTitle({ peft, graft }),
  step: graft.progress.step,
  total_steps: graft.progress.total_steps,
  train_loss: graft.train_loss,
  valid_loss: graft.valid_loss,
  created_at: job.created_at,
  error: job.error?.message ?? null,
});

/** Metrics at `points` evenly spaced steps, including the last one. */
function thinned(metrics: MetricsObject, points: number): MetricsObject {
  const { length } = metrics.steps;
  if (length <= points) return metrics;
  const kept = Array.from(
    { length: points },
    (_, n) => Math.round(((n + 1) * length) / points) - 1,
  );
  const pick = <Value>(column: readonly Value[]): Value[] => kept.map((at) => column[at] as Value);
  return {
    ...metrics,
    steps: pick(metrics.steps),
    tokens: pick(metrics.tokens),
    seconds: pick(metrics.seconds),
    series: Object.fromEntries(
      Object.entries(metrics.series).map(([name, column]) => [name, pick(column)]),
    ),
  };
}
