import type { Command } from 'commander';
import { GRAFT } from '../called.js';
import { CliError, EXIT } from '../cli-error.js';
import type { Api } from '../client/api.js';
import { callOf } from '../command-line/command-line.js';
import { AMONG, findJobIdIfAny } from '../find/find-job.js';
import { findSweepIdIfAny } from '../find/find-sweep.js';
import { watchToEnd } from '../output/watch-job.js';
import { watchSweep } from '../output/watch-sweep.js';

export function addWatch(program: Command): void {
  program
    .command('watch')
    .description('Show the progress of a job or sweep until it ends')
    .argument('<job-or-sweep>', 'id, prefix of the id, name or suffix')
    .addHelpText(
      'after',
      `
The loss is a moving average, with its curve. Of a sweep, each trial has a
line; the best one so far has a *. Ctrl-C stops watching; the job continues.
Exits with 1 if the job fails.`,
    )
    .action(async (name: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const { job, sweep } = await found(api(), name);
      if (sweep === null) await watchToEnd(api(), job, out);
      else await watchSweep(api(), sweep, out);
    });
}

type Found =
  { readonly job: string; readonly sweep: null } | { readonly job: null; readonly sweep: string };

/** The job or sweep with this name. A job takes precedence, but several jobs do not: the trials of a sweep have its suffix. */
async function found(api: Api, name: string): Promise<Found> {
  const job = name.startsWith('sweep-') ? null : await jobOrProblem(api, name);
  if (typeof job === 'string') return { job, sweep: null };
  const sweep = await findSweepIdIfAny(api, name);
  if (sweep !== null) return { job: null, sweep };
  throw (
    job ??
    new CliError(
      `no job or sweep named ${name}; see ${AMONG.all.list} and ${GRAFT} sweeps`,
      EXIT.failed,
    )
  );
}

/** The id of a job, the error if several match the name, or null if none does. */
async function jobOrProblem(api: Api, name: string): Promise<string | CliError | null> {
  try {
    return await findJobIdIfAny(api, name);
  } catch (error) {
    if (error instanceof CliError && error.exitCode === EXIT.usage) return error;
    throw error;
  }
}
