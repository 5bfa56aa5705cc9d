import { lossText, type JobObject, type JobStatus } from '@graft/contracts';
import { Option, type Command } from 'commander';
import type { Api } from '../api.js';
import { callOf } from '../command-line.js';
import { findJob, findJobId, jobPath } from '../find-job.js';
import { jobCard } from '../job-card.js';
import { wholeNumber } from '../numbers.js';
import { state, warning } from '../style.js';
import { ago, printable, table, type Output } from '../terminal.js';
import { checkpointsOf } from './download.js';

interface Options {
  readonly limit: number;
  readonly search?: string;
  readonly state?: JobStatus;
}

const STATES = ['queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled'];

export function addJobs(program: Command): void {
  program
    .command('jobs')
    .description('list jobs, newest first; with a job, all about that one')
    .argument('[job]', 'its id, the beginning of that, or its suffix')
    .option('-n, --limit <number>', 'how many', wholeNumber, 20)
    .option(
      '-s, --search <words>',
      'only jobs with all of these words: name, model, state, error, …',
    )
    .addOption(new Option('--state <state>', 'only jobs in this state').choices(STATES))
    .action(async (name: string | undefined, options: Options, command: Command) => {
      const { out, api } = callOf(command);
      await (name === undefined ? list(api(), options, out) : show(api(), name, out));
    });
  stateCommand(program, 'cancel', 'end a job; what it had saved stays downloadable');
  stateCommand(program, 'pause', 'give the worker back; resume goes on from the last checkpoint');
  stateCommand(program, 'resume', 'queue a paused job again');
}

async function show(api: Api, name: string, out: Output): Promise<void> {
  const job = await findJob(api, name);
  if (out.json) return out.value(job);
  out.line(jobCard(job, await checkpointsOf(api, job.id), out.width));
}

async function list(api: Api, { limit, search, state }: Options, out: Output): Promise<void> {
  const query = new URLSearchParams({ search: search ?? '', status: state ?? '' });
  const jobs = await api.all<JobObject>(`/fine_tuning/jobs?${query}`, limit);
  if (out.json) return out.value(jobs);
  if (jobs.length === 0) return out.line(nothing(search, state));
  const header = ['JOB', 'NAME', 'STATE', 'METHOD', 'BASE', 'STEP', 'LOSS', 'VALID', 'AGE'];
  out.line(table(header, jobs.map(row), out.width));
}

function nothing(search: string | undefined, state: string | undefined): string {
  if (search) return 'no job has all of these words';
  if (state) return `no job is ${state}`;
  return 'no jobs yet: graft submit --model … --train data.jsonl';
}

function stateCommand(
  program: Command,
  verb: 'cancel' | 'pause' | 'resume',
  description: string,
): void {
  program
    .command(verb)
    .description(description)
    .argument('<job...>')
    .action(async (names: string[], _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      for (const name of names) {
        const path = jobPath(await findJobId(api(), name));
        const job = await api().post<JobObject>(`${path}/${verb}`);
        if (out.json) out.value(job);
        else out.line(`${job.id} ${state(job.status)}: ${printable(job.graft.phase.message)}`);
      }
    });
}

function row(job: JobObject): string[] {
  const { progress, train_loss, valid_loss, warnings } = job.graft;
  return [
    job.id,
    printable(job.user_provided_suffix ?? ''),
    state(job.status) + (warnings.length > 0 ? warning(' !') : ''),
    typeof job.peft?.peft_type === 'string' ? job.peft.peft_type : 'FULL',
    job.model,
    progress.total_steps === null ? `${progress.step}` : `${progress.step}/${progress.total_steps}`,
    train_loss === null ? '' : lossText(train_loss),
    valid_loss === null ? '' : lossText(valid_loss),
    ago(job.created_at),
  ];
}
