import type { JobKind, JobObject, JobOrder, JobStatus } from '@graft/contracts';
import { JOB_KINDS } from '@graft/contracts/job-kinds';
import { JOB_ORDERS } from '@graft/contracts/job-orders';
import { JOB_STATUSES } from '@graft/contracts/job-status';
import { Option, type Command } from 'commander';
import type { Api } from '../client/api.js';
import { callOf } from '../command-line/command-line.js';
import { checkpointsOf } from '../find/find-checkpoint.js';
import { findJob, findJobId, jobPath } from '../find/find-job.js';
import { jobCard } from '../output/job-card.js';
import { jobHeader, jobReason, jobRow } from '../output/job-row.js';
import { useCommand } from '../find/model-use.js';
import { positiveInteger } from '../command-line/parse-number.js';
import { state } from '../output/style.js';
import { printable, table, type Output } from '../output/terminal.js';
import { GRAFT } from '../called.js';

interface Options {
  readonly limit: number;
  readonly search?: string;
  readonly state?: JobStatus;
  readonly tag?: readonly string[];
  readonly model?: string;
  readonly method?: string;
  readonly kind?: JobKind;
  readonly archived?: boolean;
  readonly deleted?: boolean;
  readonly sort?: JobOrder;
  readonly ascending?: boolean;
}

export function addJobs(program: Command): void {
  program
    .command('jobs')
    .description('List jobs, or show one job in detail')
    .argument('[job]', 'id, prefix of the id, name or suffix')
    .option('-n, --limit <number>', 'maximum number to list', positiveInteger, 20)
    .option(
      '-s, --search <words>',
      'only jobs that match all words (in name, model, state, error, …)',
    )
    .addOption(new Option('--state <state>', 'only jobs in this state').choices(JOB_STATUSES))
    .option('--tag <tag...>', 'only jobs that have all of these tags')
    .option('--model <model>', 'only jobs with this base model or adapter')
    .option(
      '--method <peft_type>',
      'only jobs with this method or LoRA variant (dora, qlora, …), or full',
    )
    .addOption(
      new Option('--kind <kind>', 'only training jobs, or only operations of one type').choices(
        JOB_KINDS,
      ),
    )
    .option('--archived', 'only archived jobs')
    .option('--deleted', 'only deleted jobs that graft job restore can restore')
    .addOption(new Option('--sort <column>', 'sort by this column').choices(JOB_ORDERS))
    .option('--ascending', 'smallest or oldest first')
    .action(async (name: string | undefined, options: Options, command: Command) => {
      const { out, api } = callOf(command);
      await (name === undefined ? list(api(), options, out) : show(api(), name, out));
    });
  stateCommand(program, 'cancel', 'Cancel jobs and keep their checkpoints');
  stateCommand(program, 'pause', 'Checkpoint and pause jobs, freeing their workers');
  stateCommand(program, 'resume', 'Resume paused jobs from their last checkpoint');
}

async function show(api: Api, name: string, out: Output): Promise<void> {
  const job = await findJob(api, name);
  if (out.json) return out.value(job);
  const { fine_tuned_model: model } = job;
  const [checkpoints, use] = await Promise.all([
    checkpointsOf(api, job.id),
    model === null ? null : useCommand(api, model),
  ]);
  out.line(jobCard(job, { checkpoints, use }, out.width));
}

async function list(api: Api, options: Options, out: Output): Promise<void> {
  const jobs = await api.all<JobObject>(`/fine_tuning/jobs?${queryOf(options)}`, options.limit);
  if (out.json) return out.value(jobs);
  if (jobs.length === 0) return out.line(nothing(options));
  const tagged = jobs.some(({ graft }) => graft.tags.length > 0);
  const rows = jobs.map((job) => jobRow(job, out.id(job.id), tagged));
  out.line(
    table(jobHeader(tagged), rows, {
      width: out.width,
      details: jobs.map(jobReason),
      optional: ['BASE', 'AGE', 'TAGS', 'TOOK', 'METHOD'],
    }),
  );
}

function queryOf(options: Options): URLSearchParams {
  const {
    search = '',
    state: status = '',
    model = '',
    method = '',
    kind = '',
    sort = '',
  } = options;
  return new URLSearchParams([
    ...Object.entries({ search, status, model, method, kind, order_by: sort }),
    ['archived', options.deleted ? 'any' : String(options.archived === true)],
    ['deleted', String(options.deleted === true)],
    ['order', options.ascending ? 'asc' : 'desc'],
    ...(options.tag ?? []).map((tag): [string, string] => ['tag', tag]),
  ]);
}

function nothing({ state: status, ...options }: Options): string {
  const { search, tag, model, method, kind, archived, deleted } = options;
  if (search ?? tag ?? model ?? method ?? kind) return 'no matching jobs';
  if (status) return `no ${status} jobs`;
  if (deleted) return 'no deleted jobs';
  if (archived) return 'no archived jobs';
  return `no jobs yet: ${GRAFT} submit --model … --train data.jsonl`;
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
