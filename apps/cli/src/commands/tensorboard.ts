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

/** Shorter than the 5 s after which TensorBoard reloads its files. */
const PAUSE_MS = 3_000;

interface Options {
  readonly logdir: string;
  readonly follow?: boolean;
}

export function addTensorboard(program: Command): void {
  program
    .command('tensorboard')
    .description('Write metrics of jobs as TensorBoard event files')
    .argument('<job...>')
    .option('--logdir <folder>', 'folder of the runs, for `tensorboard --logdir`', 'runs')
    .option('-f, --follow', 'keep writing until the jobs end, even while they are paused')
    .action(async (names: string[], { logdir, follow }: Options, command: Command) => {
      const { out, api } = callOf(command);
      const found = await Promise.all(names.map((name) => findJob(api(), name)));
      const jobs = new Map(found.map((job) => [job.id, job]));
      const runs: EventFile[] = [];
      try {
        for (const job of jobs.values()) runs.push(EventFile.of(api(), job, logdir));
        await Promise.all(runs.map((run) => run.begin()));
        for (const { path } of runs) out.line(path);
        out.note(`View them: tensorboard --logdir ${logdir}`);
        if (follow) await Promise.all(runs.map((run) => run.follow(out)));
      } finally {
        for (const run of runs) run.close();
      }
    });
}

/** Event file of one job. Each start rewrites the whole file; following appends to it. */
class EventFile {
  private last = '';
  private status: JobObject['status'];

  private constructor(
    private readonly api: Api,
    private readonly job: JobObject,
    private readonly folder: string,
    /** Releases the lock of the folder. */
    readonly close: () => void,
  ) {
    this.status = job.status;
  }

  /** Locks the job's folder, because two writers would write every value twice. @throws CliError if it is locked */
  static of(api: Api, job: JobObject, logdir: string): EventFile {
    const folder = join(logdir, runName(job));
    return new EventFile(api, job, folder, lockFolder(folder, 'tensorboard'));
  }

  /** Path that depends only on the job: a second file in its folder would draw every curve twice. */
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

  /** Appends new metrics until the job ends. A paused job has not ended, because it may be resumed. */
  async follow(out: Output): Promise<void> {
    const { id } = this.job;
    while (!TERMINAL_STATUSES.includes(this.status)) {
      await sleep(PAUSE_MS);
      try {
        // Read the state first, so that the metrics read after it include the last ones.
        const { status } = await this.api.get<JobObject>(jobPath(id));
        if (status === 'paused' && this.status !== 'paused')
          out.note(`${id} paused; writing continues when it is resumed`);
        const { bytes, last } = await read(this.api, id, this.last);
        if (bytes.length > 0) await appendFile(this.path, bytes);
        this.last = last;
        this.status = status;
      } catch (error) {
        if (!isTemporary(error)) throw error;
      }
    }
    out.note(`${id} ${this.status}`);
  }
}

/** Name of the run in TensorBoard. */
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

/** Whether the error is temporary, such as a restart of the API. */
const isTemporary = (error: unknown): boolean =>
  error instanceof ApiError
    ? error.status >= 500 || error.status === 429
    : error instanceof CliError && error.exitCode === EXIT.unreachable;
