// MLflow's REST API, version 2.0: https://mlflow.org/docs/latest/rest-api.html
// A run is found by a tag with the job's ID. A metric that is sent again with the same step, time and value
// is stored once.
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

interface MlflowRun extends RemoteRun {
  readonly run: string;
}

/** MLflow's limits: metrics and params per batch, characters of a key and of a value. */
const MOST = { metrics: 1000, params: 100, key: 250, value: 6000 };

const JOB_TAG = 'graft.job_id';

const ENDINGS: Readonly<Record<string, string>> = {
  succeeded: 'FINISHED',
  failed: 'FAILED',
  cancelled: 'KILLED',
};

export const mlflow: Tracker = {
  type: 'mlflow',

  async open(ask, connection, job) {
    const call = caller(ask, connection);
    const experiment = await experimentOf(call, job.settings.project);
    const run = (await findRun(call, experiment, job)) ?? (await createRun(call, experiment, job));
    const params = flat(configOf(job)).map(([key, value]) => ({ key, value }));
    for (let at = 0; at < params.length; at += MOST.params)
      await call(Nothing, 'runs/log-batch', {
        run_id: run,
        params: params.slice(at, at + MOST.params),
      });
    const remote: MlflowRun = { run };
    const pages = connection.url.replace(/\/+$/, '');
    return { remote, url: `${pages}/#/experiments/${experiment}/runs/${run}` };
  },

  async send(ask, connection, remote, _job, points) {
    const { run } = remote as MlflowRun;
    const metrics = points.flatMap(({ at, step, values }) =>
      Object.entries(values).map(([key, value]) => ({
        key,
        value: jsonNumber(value),
        timestamp: at.getTime(),
        step,
      })),
    );
    for (let at = 0; at < metrics.length; at += MOST.metrics)
      await caller(ask, connection)(Nothing, 'runs/log-batch', {
        run_id: run,
        metrics: metrics.slice(at, at + MOST.metrics),
      });
    return remote;
  },

  async finish(ask, connection, remote, job) {
    const { run } = remote as MlflowRun;
    const call = caller(ask, connection);
    const { fine_tuned_model: model } = job;
    if (model !== null)
      await call(Nothing, 'runs/set-tag', {
        run_id: run,
        key: 'graft.fine_tuned_model',
        value: model,
      });
    await call(Nothing, 'runs/update', {
      run_id: run,
      status: ENDINGS[job.state],
      end_time: job.finished_at?.getTime(),
    });
  },
};

const Nothing = z.object({});
const RunInfo = z.object({ info: z.object({ run_id: z.string() }) });
const CreatedExperiment = z.object({ experiment_id: z.string() });
const Named = z.object({
  experiment: CreatedExperiment.extend({ lifecycle_stage: z.string().optional() }),
});
const Runs = z.object({ runs: z.array(RunInfo).default([]) });
const CreatedRun = z.object({ run: RunInfo });

/** Sends a GET request without a body, otherwise a POST request. */
type Call = <T>(form: z.ZodType<T>, path: string, body?: object) => Promise<T>;

function caller(ask: SendRequest, connection: Connection): Call {
  const { username, secret } = connection;
  const authorization =
    username !== null ? basic(username, secret ?? '') : secret !== null ? `Bearer ${secret}` : null;
  const headers: Readonly<Record<string, string>> = authorization === null ? {} : { authorization };
  return async (form, path, body) => {
    const answer = await ask(connection, {
      method: body === undefined ? 'GET' : 'POST',
      path: `/api/2.0/mlflow/${path}`,
      headers,
      ...(body && { body }),
    });
    return parseResponse(form, answer, connection);
  };
}

/** Returns the ID of the experiment, which is created if it does not exist. */
async function experimentOf(call: Call, name: string): Promise<string> {
  const known = await findExperiment(call, name);
  if (known !== null) return known;
  try {
    return (await call(CreatedExperiment, 'experiments/create', { name })).experiment_id;
  } catch (error) {
    // Another process or user may have created it meanwhile.
    const other = isCalled(error, 'RESOURCE_ALREADY_EXISTS')
      ? await findExperiment(call, name)
      : null;
    if (other === null) throw error;
    return other;
  }
}

async function findExperiment(call: Call, name: string): Promise<string | null> {
  const path = `experiments/get-by-name?experiment_name=${encodeURIComponent(name)}`;
  const found = await call(Named, path).catch((error: unknown) => {
    if (isCalled(error, 'RESOURCE_DOES_NOT_EXIST')) return null;
    throw error;
  });
  if (found?.experiment.lifecycle_stage === 'deleted')
    throw new TrackerError(
      `the experiment ${name} was deleted; restore it, or use another name`,
      400,
    );
  return found?.experiment.experiment_id ?? null;
}

const isCalled = (error: unknown, code: string): boolean =>
  error instanceof TrackerError && error.code === code;

async function findRun(call: Call, experiment: string, { id }: TrackedJob): Promise<string | null> {
  const { runs } = await call(Runs, 'runs/search', {
    experiment_ids: [experiment],
    filter: `tags.\`${JOB_TAG}\` = '${id}'`,
    max_results: 1,
  });
  return runs[0]?.info.run_id ?? null;
}

async function createRun(call: Call, experiment: string, job: TrackedJob): Promise<string> {
  const tags: Record<string, string> = {
    ...(job.settings.tags as Record<string, string>),
    'mlflow.source.name': 'graft',
    'mlflow.source.type': 'JOB',
    [JOB_TAG]: job.id,
  };
  const { run } = await call(CreatedRun, 'runs/create', {
    experiment_id: experiment,
    run_name: runName(job),
    start_time: (job.started_at ?? job.finished_at)?.getTime(),
    tags: Object.entries(tags).map(([key, value]) => ({ key, value })),
  });
  return run.info.run_id;
}

/** Flattens a config to dotted names and texts. Lists become JSON, and null values are omitted. */
function flat(value: unknown, path = ''): [string, string][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return value === null || value === undefined ? [] : [[keyOf(path), textOf(value)]];
  return Object.entries(value).flatMap(([name, inner]) =>
    flat(inner, path === '' ? name : `${path}.${name}`),
  );
}

/** Replaces characters that MLflow's keys must not contain. */
const keyOf = (path: string): string => path.replaceAll(/[^\w\-./ ]/g, '_').slice(0, MOST.key);

const textOf = (value: unknown): string => {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length <= MOST.value ? text : `${text.slice(0, MOST.value - 1)}…`;
};
