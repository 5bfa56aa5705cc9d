import type { Command } from 'commander';
import { runApiProgram } from '../system/api-program.js';
import { CliError } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';

/** Adds the commands that run on the server's machine, in the API's own program. */
export function addAdmin(program: Command): void {
  const admin = program
    .command('admin')
    .description('Back up and restore an installation (run on the server)');
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
      .option(
        '--blobs <where>',
        'folder or s3://BUCKET/PREFIX (default: blobs in the home folder)',
      );
  const snapshot = ['--snapshot <name>', 'snapshot in the folder (default: the latest)'] as const;
  where(add('backup', 'Back up the database and blobs; the API may be running'));
  add('verify', 'Read a whole backup and report corrupt files').option(...snapshot);
  where(add('restore', 'Restore a backup into an empty home folder or database')).option(
    ...snapshot,
  );
}

async function run(command: Command, args: readonly string[]): Promise<void> {
  const { settings } = callOf(command);
  if (!(await runApiProgram(settings, args)))
    throw new CliError(`graft admin ${args[0]} failed; see the output above`);
}
