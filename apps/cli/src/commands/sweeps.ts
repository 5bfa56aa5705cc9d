import type { SweepObject } from '@graft/contracts';
import { trialCountsText } from '@graft/contracts/sweep-text';
import type { Command } from 'commander';
import type { Api } from '../client/api.js';
import { withFiles } from '../requests/body-files.js';
import { CliError, EXIT } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';
import { findSweepId, sweepPath } from '../find/find-sweep.js';
import { withIds } from '../requests/names-in-body.js';
import { bodyOf, withJobFlags, type JobFlags } from '../requests/job-body.js';
import { noteWarnings } from '../output/note-warnings.js';
import { positiveInteger } from '../command-line/parse-number.js';
import { sweepRow } from '../output/sweep-card.js';
import { isSweepOver, showSweep, watchSweep } from '../output/watch-sweep.js';
import { searchOf, withSearchFlags, type SearchFlags } from '../requests/sweep-search.js';
import { table, type Output } from '../output/terminal.js';
import { GRAFT } from '../called.js';

export function addSweeps(program: Command): void {
  const sweeps = program
    .command('sweeps')
    .alias('sweep')
    .description('Search for the best method or hyperparameters');
  addCreate(sweeps);
  sweeps
    .command('list', { isDefault: true })
    .description('List sweeps, newest first')
    .option('-n, --limit <number>', 'maximum number to list', positiveInteger, 50)
    .action(async ({ limit }: { limit: number }, command: Command) => {
      const { out, api } = callOf(command);
      const found = await api().all<SweepObject>('/sweeps', limit);
      if (out.json) return out.value(found);
      if (found.length === 0)
        return out.line(
          `no sweeps yet: ${GRAFT} sweeps create --model MODEL --train FILE --methods`,
        );
      const header = ['SWEEP', 'SUFFIX', 'BASE', 'SEARCH', 'STATUS', 'TRIALS', 'BEST', 'AGE'];
      out.line(
        table(
          header,
          found.map((sweep) => sweepRow(sweep, out.id(sweep.id))),
          { width: out.width },
        ),
      );
    });
  const one = (name: string, what: string, work: (call: OfSweep) => Promise<void>): Command =>
    sweeps
      .command(name)
      .description(what)
      .argument('<sweep>', 'id, prefix of the id, or suffix')
      .action(async (called: string, _options: unknown, command: Command) => {
        const { out, api } = callOf(command);
        await work({ out, api: api(), id: await findSweepId(api(), called) });
      });
  one('show', 'Show a sweep and its trials, best first', async ({ out, api, id }) =>
    showSweep(out, await api.get<SweepObject>(sweepPath(id))),
  );
  one('watch', 'Show the progress of each trial until all end', ({ out, api, id }) =>
    watchSweep(api, id, out),
  );
  one('winner', 'Print the best model so far', winner);
  one('cancel', 'Cancel the remaining trials', async ({ out, api, id }) => {
    const sweep = await api.post<SweepObject>(`${sweepPath(id)}/cancel`);
    if (out.json) out.value(sweep);
    else out.line(`${id} ${sweep.status}: ${trialCountsText(sweep)}`);
  });
}

interface OfSweep {
  readonly out: Output;
  readonly api: Api;
  readonly id: string;
}

interface CreateOptions extends JobFlags, SearchFlags {
  readonly watch?: boolean;
}

function addCreate(sweeps: Command): void {
  const command = sweeps
    .command('create')
    .description('Create a sweep over methods (--methods) or options (--vary)')
    .argument('[body]', 'JSON file with the body of POST /v1/sweeps; flags override its fields');
  withSearchFlags(withJobFlags(command))
    .option('-w, --watch', 'show progress until all trials end')
    .action(async (file: string | undefined, options: CreateOptions, command: Command) => {
      const { out, api } = callOf(command);
      const job = await withIds(api(), bodyOf(file, options, 'POST /v1/sweeps'), options);
      const body = { ...job, search: searchOf(job, options) };
      const columns = options.map ?? {};
      const sweep = await withFiles(api(), { body, columns }, out, ({ sent }) =>
        api().post<SweepObject>('/sweeps', sent),
      );
      noteWarnings(out, sweep.warnings ?? []);
      if (options.watch === true) return watchSweep(api(), sweep.id, out);
      if (out.json) return out.value(sweep);
      out.line(`${sweep.id} ${sweep.status}: ${sweep.trial_counts.total} trials`);
      out.note(`Follow it: ${GRAFT} sweeps watch ${sweep.id}`);
    });
}

async function winner({ out, api, id }: OfSweep): Promise<void> {
  const sweep = await api.get<SweepObject>(sweepPath(id));
  const { winner: best, status } = sweep;
  if (!best) {
    const why = isSweepOver(sweep)
      ? `${id} has no winner: it ended as ${status}, and no trial has a model with a score`
      : `no trial of ${id} has a model with a score yet; the sweep is ${status}`;
    throw new CliError(why, EXIT.failed);
  }
  if (out.json) out.value(best);
  else out.line(best.model);
}
