import { setTimeout as sleep } from 'node:timers/promises';
import type { SweepObject } from '@graft/contracts';
import { scoreText, trialCountsText } from '@graft/contracts/sweep-text';
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
import { sweepCard, sweepRow } from '../output/sweep-card.js';
import { searchOf, withSearchFlags, type SearchFlags } from '../requests/sweep-search.js';
import { table, type Output } from '../output/terminal.js';
import { GRAFT } from '../called.js';

const EVERY_MS = 1000;

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
    show(out, await api.get<SweepObject>(sweepPath(id))),
  );
  one('watch', 'Show progress until all trials end', watch);
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
      if (options.watch === true) return watch({ out, api: api(), id: sweep.id });
      if (out.json) return out.value(sweep);
      out.line(`${sweep.id} ${sweep.status}: ${sweep.trial_counts.total} trials`);
      out.note(`Follow it: ${GRAFT} sweeps watch ${sweep.id}`);
    });
}

const show = (out: Output, sweep: SweepObject): void =>
  out.json ? out.value(sweep) : out.line(sweepCard(sweep, out.width, out.id));

/** Waits until all trials end. Trials that wait for a worker may take long. */
async function watch({ out, api, id }: OfSweep): Promise<void> {
  let sweep = await api.get<SweepObject>(sweepPath(id));
  while (!isOver(sweep)) {
    const { winner, search } = sweep;
    const best = winner ? `; best ${scoreText(winner.score, search.metric)}, trial ${winner.trial}` : ''; // prettier-ignore
    out.draw(`${sweep.status}: ${trialCountsText(sweep)}${best}`);
    await sleep(EVERY_MS);
    sweep = await api.get<SweepObject>(sweepPath(id));
  }
  out.draw('');
  show(out, sweep);
  // A sweep with a winner is a success even if its last trials were cancelled.
  if (!sweep.winner && sweep.status !== 'succeeded')
    throw new CliError(`the sweep ended as ${sweep.status}`);
}

const isOver = ({ status }: SweepObject): boolean => status !== 'queued' && status !== 'running';

async function winner({ out, api, id }: OfSweep): Promise<void> {
  const sweep = await api.get<SweepObject>(sweepPath(id));
  const { winner: best, status } = sweep;
  if (!best) {
    const why = isOver(sweep)
      ? `${id} has no winner: it ended as ${status}, and no trial has a model with a score`
      : `no trial of ${id} has a model with a score yet; the sweep is ${status}`;
    throw new CliError(why, EXIT.failed);
  }
  if (out.json) out.value(best);
  else out.line(best.model);
}
