import type { Command } from 'commander';
import { runApiProgram } from '../system/api-program.js';
import { CliError } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';

/** What is done on the server's machine, with the API's own program. */
export function addAdmin(program: Command): void {
  const admin = program
    .command('admin')
    .description("back up an installation, and restore it, on the server's machine");
  const add = (name: string, description: string): Command =>
    admin
      .command(`${name} <folder>`)
      .description(description)
      .action((folder: string, { snapshot }: { snapshot?: string }, command: Command) =>
        run(command, [name, folder, ...(snapshot === undefined ? [] : ['--snapshot', snapshot])]),
      );
  const where = (command: Command): Command =>
    command
      .option(
        '--database-url <url>',
        'URL of an external PostgreSQL (default: the embedded server)',
      )
      .option('--blobs <where>', 'folder or s3://BUCKET/PREFIX (default: blobs in the home)');
  const snapshot = ['--snapshot <name>', 'of the folder (default: the newest)'] as const;
  where(add('backup', 'copy the database and the blobs, beside a running API or without'));
  add('verify', 'read a backup whole, and say which bytes are wrong').option(...snapshot);
  where(add('restore', 'make an installation of a backup: in an empty home or database')).option(
    ...snapshot,
  );
}

async function run(command: Command, args: readonly string[]): Promise<void> {
  const { settings } = callOf(command);
  if (!(await runApiProgram(settings, args)))
    throw new CliError(`graft admin ${args[0]} did not succeed`);
}
