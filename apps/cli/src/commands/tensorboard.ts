import { appendFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobObject } from '@graft/contracts';
import { TERMINAL_STATUSES } from '@graft/contracts/job-status';
import type { Command } from 'commander';
import { ApiError, type Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';
import { callName, findJob, jobPath } from '../find/find-job.js';
import { lockFolder } from '../system/folder-lock.js';
import type { Output } from '../output/terminal.js';

/** TensorBoard itself looks for more every 5 s. */
const PAUSE_MS = 3_000;

interface Options {
  readonly logdir: string;
  readonly follow?: boolean;
}

export function addTensorboard(program: Command): void {
  program
    .command('tensorboard')
    .description("write jobs' numbers where TensorBoard reads them, a run for each job")
    .argument('<job...>')
    .option('--logdir <folder>', 'folder of the runs, as `tensorboard --logdir` takes it', 'runs')
    .option('-f, --follow', 'keep writing until the jobs end, also while they are paused')
    .action(async (names: string[], { logdir, follow }: Options, command: Command) => {
      const { out, api } = callOf(command);
      const found = await Promise.all(names.map((name) => findJob(api(), name)));
      const jobs = new Map(found.map((job) => [job.id, job]));
      const runs: EventFile[] = [];
      try {
        for (const job of jobs.values()) runs.push(EventFile.of(api(), job, logdir));
        await Promise.all(runs.map((run) => run.begin()));
        for (const { path } of runs) out.line(path);
        out.note(`to see them: tensorboard --logdir ${logdir}`);
        if (follow) await Promise.all(runs.map((run) => run.follow(out)));
      } finally {
        for (const run of runs) run.close();
      }
    });
}

/** The event file of one job. Written from its beginning each time, it goes on as long as it is followed. */
class EventFile {
  private last = '';
  private status: JobObject['status'];

  private constructor(
    private readonly api: Api,
    private readonly job: JobObject,
    private readonly folder: string,
    /** Lets go of the folder. */
    readonly close: () => void,
  ) {
    this.status = job.status;
  }

  /** Takes the job's folder: two writers would write every number twice. @throws CliError where another has it */
  static of(api: Api, job: JobObject, logdir: string): EventFile {
    const folder = join(logdir, runName(job));
    return new EventFile(api, job, folder, lockFolder(folder, 'tensorboard'));
  }

  /** One name for a job: a second file in its folder would draw every curve twice. */
  get path(): string {
    return join(this.folder, `events.out.tfevents.${this.job.created_at}.graft`);
  }

  async begin(): Promise<void> {
    const { bytes, last } = await read(this.api, this.job.id);
    const whole = join(this.folder, '.graft-part');
    await writeFile(whole, bytes);
    await rename(whole, this.path);
    this.last = last;
  }

  /** A job that is paused may be resumed: it has not ended. */
  async follow(out: Output): Promise<void> {
    const { id } = this.job;
    while (!TERMINAL_STATUSES.includes(this.status)) {
      await sleep(PAUSE_MS);
      try {
        // The state first: what it ended with is read after it.
        const { status } = await this.api.get<JobObject>(jobPath(id));
        if (status === 'paused' && this.status !== 'paused')
          out.note(`${id} paused; going on with it when it is resumed`);
        const { bytes, last } = await read(this.api, id, this.last);
        if (bytes.length > 0) await appendFile(this.path, bytes);
        this.last = last;
        this.status = status;
      } catch (error) {
        if (!passes(error)) throw error;
      }
    }
    out.note(`${id} ${this.status}`);
  }
}

/** Under which TensorBoard lists it. */
const runName = (job: JobObject): string => {
  const name = callName(job);
  return name === job.id ? name : `${name}-${job.id.slice(-8)}`;
};

async function read(
  api: Api,
  id: string,
  after = '',
): Promise<{ readonly bytes: Buffer; readonly last: string }> {
  const query = after && `?after=${encodeURIComponent(after)}`;
  const answer = await api.raw('GET', `${jobPath(id)}/tensorboard${query}`);
  const last = answer.headers.get('x-graft-last-event');
  if (last === null) throw new CliError('the API is older than this command; update it');
  return { bytes: Buffer.from(await answer.arrayBuffer()), last };
}

/** Whether it may go well the next time: the API restarts, or is away. */
const passes = (error: unknown): boolean =>
  error instanceof ApiError
    ? error.status >= 500 || error.status === 429
    : error instanceof CliError && error.exitCode === EXIT.unreachable;
