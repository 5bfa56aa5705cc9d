import type { JobObject } from '@graft/contracts';
import type { Command } from 'commander';
import { callOf } from '../command-line.js';
import { wholeNumber } from '../numbers.js';
import { ago, printable, table } from '../terminal.js';

export function addJobs(program: Command): void {
  program
    .command('jobs')
    .description('list jobs, newest first; with an id, one job in full')
    .argument('[job]')
    .option('-n, --limit <number>', 'how many', wholeNumber, 20)
    .option(
      '-s, --search <words>',
      'only jobs with all of these words: name, model, state, error, …',
    )
    .action(
      async (
        id: string | undefined,
        options: { limit: number; search?: string },
        command: Command,
      ) => {
        const { out, api } = callOf(command);
        if (id !== undefined)
          return out.value(
            await api().get<JobObject>(`/fine_tuning/jobs/${encodeURIComponent(id)}`),
          );
        const search = encodeURIComponent(options.search ?? '');
        const jobs = await api().all<JobObject>(
          `/fine_tuning/jobs?search=${search}`,
          options.limit,
        );
        if (out.json) return out.value(jobs);
        if (jobs.length === 0)
          return out.line(
            options.search
              ? 'no job has all of these words'
              : 'no jobs yet: graft submit --model … --train data.jsonl',
          );
        out.line(
          table(['JOB', 'NAME', 'STATE', 'METHOD', 'BASE', 'STEP', 'LOSS', 'AGE'], jobs.map(row)),
        );
      },
    );
  stateCommand(program, 'cancel', 'end a job; what it had saved stays downloadable');
  stateCommand(program, 'pause', 'give the worker back; resume goes on from the last checkpoint');
  stateCommand(program, 'resume', 'queue a paused job again');
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
    .action(async (ids: string[], _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      for (const id of ids) {
        const job = await api().post<JobObject>(
          `/fine_tuning/jobs/${encodeURIComponent(id)}/${verb}`,
        );
        if (out.json) out.value(job);
        else out.line(`${job.id} ${job.status}: ${job.graft.phase.message}`);
      }
    });
}

function row(job: JobObject): string[] {
  const { progress, train_loss } = job.graft;
  return [
    job.id,
    printable(job.user_provided_suffix ?? ''),
    job.status,
    typeof job.peft?.peft_type === 'string' ? job.peft.peft_type : 'FULL',
    job.model,
    progress.total_steps === null ? `${progress.step}` : `${progress.step}/${progress.total_steps}`,
    train_loss === null ? '' : train_loss.toFixed(3),
    ago(job.created_at),
  ];
}
