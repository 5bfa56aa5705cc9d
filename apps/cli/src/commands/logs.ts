import type { JobEventObject, JobObject } from '@graft/contracts';
import type { Command } from 'commander';
import { callOf } from '../command-line/command-line.js';
import { findJobId, jobPath } from '../find/find-job.js';
import { isOver } from '../output/job-progress.js';
import { failure, warning } from '../output/style.js';
import { printable, type Output } from '../output/terminal.js';

export function addLogs(program: Command): void {
  program
    .command('logs')
    .description("Print a job's events and trainer output, oldest first")
    .argument('<job>')
    .option('-f, --follow', 'print new events until the job ends, then the trainer output')
    .action(async (name: string, options: { follow?: boolean }, command: Command) => {
      const { out, api } = callOf(command);
      const path = jobPath(await findJobId(api(), name));
      const seen = new Set<string>();
      const catchUp = async (): Promise<void> => {
        const [events, written] = await Promise.all([
          api().all<JobEventObject>(`${path}/events`),
          api().all<JobEventObject>(`${path}/logs`),
        ]);
        const all = [...events, ...written].sort((a, b) => placeOf(a) - placeOf(b));
        for (const event of all) printOnce(event, seen, out);
      };
      await catchUp();
      let job = await api().get<JobObject>(path);
      if (options.follow !== true || isOver(job)) return;
      for await (const { kind, data } of api().events(`${path}/stream`)) {
        if (kind === 'event') printOnce(JSON.parse(data) as JobEventObject, seen, out);
        else if (kind === 'reset') await catchUp();
        else if (kind === 'job') job = JSON.parse(data) as JobObject;
        if (isOver(job)) break;
      }
      await catchUp(); // Prints lines written between the last event and the end.
    });
}

/** Position in the job's history, which numbers events and output lines together. */
const placeOf = ({ id }: JobEventObject): number => Number(/-(\d+)$/.exec(id)?.[1] ?? 0);

function printOnce(event: JobEventObject, seen: Set<string>, out: Output): void {
  if (seen.has(event.id)) return;
  seen.add(event.id);
  if (out.json) return out.value(event);
  const text = printable(event.message);
  const shown =
    event.level === 'info'
      ? text
      : (event.level === 'warn' ? warning : failure)(`${event.level}: ${text}`);
  out.line(`${new Date(event.created_at * 1000).toISOString().slice(0, 19)}Z ${shown}`);
}
