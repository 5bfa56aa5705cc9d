import type { Command } from 'commander';
import { runApiProgram } from '../system/api-program.js';
import { CliError } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';

export function addAdminKey(program: Command): void {
  program
    .command('admin-key')
    .description('Recover admin access (run on the server)')
    .option('--database-url <url>', 'URL of an external PostgreSQL (default: the embedded server)')
    .action(async (_options: unknown, command: Command) => {
      const { settings, out } = callOf(command);
      if (!(await runApiProgram(settings, ['admin-key'])))
        throw new CliError('no key was created; see the output above');
      out.note('save this secret now; it will not be shown again');
    });
}
