import type { Command } from 'commander';
import { callOf } from '../command-line/command-line.js';
import { findJobId } from '../find/find-job.js';
import { watchToEnd } from '../output/watch-job.js';

export function addWatch(program: Command): void {
  program
    .command('watch')
    .description("Show a job's progress; exits with 1 if it fails")
    .argument('<job>')
    .action(async (name: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      await watchToEnd(api(), await findJobId(api(), name), out);
    });
}
