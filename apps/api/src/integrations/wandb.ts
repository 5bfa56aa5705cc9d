// Weights & Biases, with the protocol of its client (wandb 0.31). The GraphQL mutation upsertBucket creates a
// run whose name is the job's ID. Metrics are lines of files, sent to file_stream with the offset of the
// first line. A line that is sent again at its offset replaces itself.
import type { Point } from '../history/job-points.js';
import { TOKENS_PER_SECOND, TRAIN, VALID } from '../history/job-points.js';
import { metricsOf } from '../catalog/plugins.js';
import { z } from 'zod';
import {
  parseResponse,
  basic,
  configOf,
  jsonNumber,
  runName,
  TrackerError,
  type SendRequest,
  type Connection,
  type RemoteRun,
  type TrackedJob,
  type Tracker,
} from './tracker.js';

/** Step of the job. W&B's own `_step` counts lines. */
const STEP = 'train/global_step';

interface WandbRun extends RemoteRun {
  readonly entity: string;
  readonly project: string;
  readonly run: string;
  /** Number of history lines that were sent. */
  readonly lines: number;
  /** Last value of each metric. */
  readonly summary: Readonly<Record<string, number | string>>;
}

const UPSERT = `mutation UpsertBucket($name: String, $project: String, $entity: String, $displayName: String,
  $config: JSONString, $jobType: String, $tags: [String!]) {
  upsertBucket(input: {name: $name, modelName: $project, entityName: $entity, displayName: $displayName,
    config: $config, jobType: $jobType, tags: $tags}) {
    bucket { id name displayName project { id name entity { id name } } historyLineCount }
    inserted
  }
}`;

/** Exit code of a run that the user interrupted. */
const INTERRUPTED = 255;

export const wandb: Tracker = {
  type: 'wandb',

  async open(ask, connection, job) {
    const { settings } = job;
    const answer = await post(ask, connection, '/graphql', {
      query: UPSERT,
      variables: {
        name: job.id,
        project: settings.project,
        entity: settings.entity,
        displayName: runName(job),
        config: JSON.stringify(wandbConfig(job)),
        jobType: 'fine-tuning',
        tags: settings.tags,
      },
    });
    const { project } = bucketOf(answer, connection);
    const remote: WandbRun = {
      entity: project.entity.name,
      project: project.name,
      run: job.id,
      lines: 0,
      summary: {},
    };
    return { remote, url: webUrl(connection.url, remote) };
  },

  async beat(ask, connection, remote) {
    await stream(ask, connection, remote as WandbRun, {});
  },

  async send(ask, connection, remote, job, points) {
    const run = remote as WandbRun;
    const lines = points.map((point, n) => line(point, run.lines + n, job));
    const summary = Object.assign({}, run.summary, ...lines) as WandbRun['summary'];
    await stream(ask, connection, run, {
      files: {
        'wandb-history.jsonl': { offset: run.lines, content: lines.map(text) },
        'wandb-summary.json': { offset: 0, content: [text(summary)] },
      },
    });
    return { ...run, lines: run.lines + lines.length, summary };
  },

  async finish(ask, connection, remote, job) {
    const run = remote as WandbRun;
    const { fine_tuned_model: model } = job;
    const summary = { ...run.summary, ...(model !== null && { fine_tuned_model: model }) };
    await stream(ask, connection, run, {
      files: { 'wandb-summary.json': { offset: 0, content: [text(summary)] } },
      complete: true,
      exitcode: job.state === 'succeeded' ? 0 : job.state === 'cancelled' ? INTERRUPTED : 1,
    });
  },
};

/** JSON as Python writes it (with NaN and Infinity), which W&B's client sends. */
const text = (values: Readonly<Record<string, number | string>>): string => {
  const fields = Object.entries(values).map(
    ([name, value]) => `${JSON.stringify(name)}:${BARE.has(value) ? value : JSON.stringify(value)}`,
  );
  return `{${fields.join()}}`;
};

const BARE: ReadonlySet<unknown> = new Set(['NaN', 'Infinity', '-Infinity']);

function line(
  { at, step, values }: Point,
  number: number,
  { started_at: started }: TrackedJob,
): Record<string, number | string> {
  const seconds = at.getTime() / 1000;
  return {
    ...Object.fromEntries(Object.entries(values).map(([name, value]) => [name, jsonNumber(value)])),
    [STEP]: step,
    _step: number,
    _timestamp: seconds,
    _runtime: Math.max(0, seconds - (started?.getTime() ?? at.getTime()) / 1000),
  };
}

/** Config of a run, each value in a dictionary. `_wandb` makes the job's step the x-axis of the charts. */
function wandbConfig(job: TrackedJob): Record<string, unknown> {
  const config = Object.entries(configOf(job)).map(([name, value]) => [name, { value }]);
  const { step, validation } = metricsOf(job.spec.task);
  const names = [
    ...step.map(({ name }) => `${TRAIN}${name}`),
    ...validation.map(({ name }) => `${VALID}${name}`),
    TOKENS_PER_SECOND,
  ];
  // MetricRecord of the client, by field numbers: 1 is the name, 5 the index of its step metric, 6 the
  // options that are set.
  const metrics = [
    { 1: STEP, 6: [3] },
    ...[...new Set(names)].map((name) => ({ 1: name, 5: 1, 6: [1] })),
  ];
  return { ...Object.fromEntries(config), _wandb: { value: { m: metrics } } };
}

const Name = z.object({ name: z.string() });
const Bucket = z.object({ project: Name.extend({ entity: Name }) });
const Upserted = z.object({ upsertBucket: z.object({ bucket: Bucket }) });
const Failed = z.object({ errors: z.array(z.object({ message: z.string() })).min(1) });
const Answer = z.union([Failed, z.object({ data: Upserted })]);

/** W&B reports errors with status 200. */
function bucketOf(answer: unknown, connection: Connection): z.infer<typeof Bucket> {
  const read = parseResponse(Answer, answer, connection);
  if ('data' in read) return read.data.upsertBucket.bucket;
  const messages = read.errors.map(({ message }) => message).join('; ');
  throw new TrackerError(`W&B rejected the run: ${messages}`, 400);
}

const stream = (
  ask: SendRequest,
  connection: Connection,
  { entity, project, run }: WandbRun,
  body: object,
): Promise<unknown> =>
  post(
    ask,
    connection,
    `/files/${[entity, project, run].map(encodeURIComponent).join('/')}/file_stream`,
    body,
  );

const post = (
  ask: SendRequest,
  connection: Connection,
  path: string,
  body: unknown,
): Promise<unknown> =>
  ask(connection, {
    method: 'POST',
    path,
    headers: { authorization: basic('api', connection.secret ?? '') },
    body,
  });

/** Web address of a run. Pages of api.wandb.ai are on wandb.ai; other servers have both at one address. */
function webUrl(url: string, { entity, project, run }: WandbRun): string {
  const pages = url
    .replace(/\/+$/, '')
    .replace(/^https:\/\/api\.(?=([\w-]+\.)*wandb\.ai$)/, 'https://');
  return `${pages}/${[entity, project, 'runs', run].map(encodeURIComponent).join('/')}`;
}
