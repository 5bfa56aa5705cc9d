import { writeFile } from 'node:fs/promises';
import type { ChromeTrace } from '@graft/contracts';
import type { Command } from 'commander';
import { callOf } from '../command-line/command-line.js';
import { callName, findJob, jobPath } from '../find/find-job.js';

interface Options {
  readonly output?: string;
}

export function addTrace(program: Command): void {
  program
    .command('trace')
    .description('Write a trace of where the time of a job went')
    .argument('<job>')
    .option('-o, --output <file>', 'file to write (default: named after the job; - for stdout)')
    .action(async (name: string, { output }: Options, command: Command) => {
      const { out, api } = callOf(command);
      const job = await findJob(api(), name);
      const trace = await api().get<ChromeTrace>(`${jobPath(job.id)}/trace`);
      const text = JSON.stringify(trace);
      if (output === '-') return void process.stdout.write(`${text}\n`);
      const path = output ?? `${callName(job)}.trace.json`;
      await writeFile(path, text);
      if (out.json) return out.value({ path });
      out.line(path);
      out.note('View it: open the file at https://ui.perfetto.dev or chrome://tracing');
    });
}
