// Trackers: every job is exported to a W&B and an MLflow server that fail at random, before or after they did
// their work.
import { pythonJson, TrackerServer } from '../../../../apps/api/test/tracker-server.js';
import type { Violation } from '../checker.js';
import { post, type Kind, type Place } from './kind.js';

const TYPES = ['wandb', 'mlflow'] as const;
type TrackerType = (typeof TYPES)[number];

/** Final status of a job in each tracker's format. */
const ENDINGS: Readonly<Record<TrackerType, Readonly<Record<string, string>>>> = {
  wandb: { succeeded: '0', failed: '1', cancelled: '255' },
  mlflow: { succeeded: 'FINISHED', failed: 'FAILED', cancelled: 'KILLED' },
};

/** Loss in a tracker. */
interface Written {
  readonly step: number;
  readonly loss: number;
}

export interface TrackedRun {
  readonly type: TrackerType;
  readonly job: string;
  readonly ending: string;
  readonly losses: readonly Written[];
}

export interface TrackedJobRow {
  readonly id: string;
  readonly state: string;
  readonly hasStarted: boolean;
  readonly losses: readonly Written[];
}

export interface TrackerEvidence {
  readonly jobs: readonly TrackedJobRow[];
  readonly runs: readonly TrackedRun[];
}

/**
 * Each started job has one run in each tracker, with the job's final status and each loss once. Other jobs
 * have no run.
 */
export function* checkTrackers({
  jobs,
  runs,
}: TrackerEvidence): Generator<[subject: string, what: string]> {
  for (const { job, type } of runs)
    if (!jobs.some(({ id }) => id === job)) yield [job, `${type} has a run without a job`];
  for (const job of jobs)
    for (const type of TYPES) {
      const own = runs.filter((run) => run.job === job.id && run.type === type);
      if (own.length !== (job.hasStarted ? 1 : 0))
        yield [job.id, `${own.length} runs at ${type} for a job that ${job.hasStarted ? 'started' : 'never started'}`]; // prettier-ignore
      for (const run of own) yield* checkRun(job, run);
    }
}

function* checkRun(
  job: TrackedJobRow,
  { type, ending, losses }: TrackedRun,
): Generator<[string, string]> {
  const expected = ENDINGS[type][job.state] ?? '';
  if (ending !== expected)
    yield [job.id, `${type} has the status ${ending} for a job that ${job.state}`];
  const sorted = (all: readonly Written[]): string =>
    JSON.stringify(all.map(({ step, loss }) => [step, loss]).sort(([a = 0], [b = 0]) => a - b));
  if (sorted(losses) === sorted(job.losses)) return;
  yield [job.id, `${type} has ${losses.length} losses, which differ from the job's ${job.losses.length}`]; // prettier-ignore
}

export class Trackers implements Kind {
  readonly name = 'trackers';
  private server!: TrackerServer;
  private runs: readonly TrackedRun[] = [];

  async configure(): Promise<object> {
    this.server = await TrackerServer.open();
    return { outboundNetworks: ['127.0.0.0/8'] };
  }

  async listen(place: Place): Promise<void> {
    const { server } = this;
    for (const type of TYPES)
      await post(place, `/integrations/${type}`, { url: server.url, api_key: 'key', every_job: true }); // prettier-ignore
    const fail = (probability: number) => () => {
      if (place.random.next() < probability) throw new Error('the tracker is not well');
    };
    server.asked = fail(0.02);
    server.done = fail(0.02);
  }

  heal(): void {
    this.server.asked = this.server.done = () => undefined;
  }

  /** Skips the pauses between retries. */
  async open({ cluster }: Place): Promise<string[]> {
    const rows = await cluster.query<{ job_id: string; type: string }>(
      `UPDATE integration_run SET next_at = LEAST(next_at, clock_timestamp()) WHERE status <> 'done'
       RETURNING job_id, type`,
    );
    if (rows.length > 0)
      await cluster.query('UPDATE integration SET next_at = LEAST(next_at, clock_timestamp())');
    return rows.map(({ job_id: id, type }) => `${type} of ${id}`);
  }

  async look({ cluster }: Place): Promise<Violation[]> {
    const jobs = await cluster.query<TrackedJobRow>(
      `SELECT id, state, started_at IS NOT NULL AS "hasStarted",
         (SELECT COALESCE(json_agg(json_build_object('step', step, 'loss', loss)), '[]') FROM
           (SELECT DISTINCT step, ("values"->>'loss')::float8 AS loss FROM metric WHERE job_id = job.id) AS point) AS losses
       FROM job WHERE spec->>'operation' IS NULL`,
    );
    this.runs = [...this.wandbRuns(), ...this.mlflowRuns()];
    return [...checkTrackers({ jobs, runs: this.runs })].map(([subject, what]) => ({
      invariant: 'I15',
      subject,
      what,
    }));
  }

  counts(): Record<string, number> {
    return { 'tracker runs': this.runs.length, 'tracker requests': this.server.requests.length };
  }

  close(): Promise<void> {
    return this.server.stop();
  }

  private wandbRuns(): TrackedRun[] {
    return [...this.server.wandb].map(([job, { history, exitcode }]) => ({
      type: 'wandb',
      job,
      ending: String(exitcode),
      losses: history
        .map((line) => pythonJson(line))
        .filter((line) => 'train/loss' in line)
        .map((line) => ({ step: Number(line['train/global_step']), loss: Number(line['train/loss']) })), // prettier-ignore
    }));
  }

  private mlflowRuns(): TrackedRun[] {
    return [...this.server.mlflow.values()].map(({ tags, status, metrics }) => ({
      type: 'mlflow',
      job: tags.get('graft.job_id') ?? '',
      ending: status,
      losses: [...metrics.values()]
        .filter(({ key }) => key === 'train/loss')
        .map(({ step, value }) => ({ step, loss: Number(value) })),
    }));
  }
}
