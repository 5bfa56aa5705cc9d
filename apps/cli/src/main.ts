#!/usr/bin/env node
import { Command, CommanderError, Option } from 'commander';
import { CliError, EXIT } from './cli-error.js';
import { addChat } from './commands/chat.js';
import { addCheckpoints } from './commands/checkpoints.js';
import { addDownload } from './commands/download.js';
import { addFiles } from './commands/files.js';
import { addJobs } from './commands/jobs.js';
import { addKeys } from './commands/keys.js';
import { addLogs } from './commands/logs.js';
import { addModels } from './commands/models.js';
import { addRun } from './commands/run.js';
import { addSubmit } from './commands/submit.js';
import { addUp } from './commands/up.js';
import { addWatch } from './commands/watch.js';
import { addWorkers } from './commands/workers.js';

function program(): Command {
  const graft = new Command('graft')
    .description('queue, train and serve parameter-efficient adapters')
    .version('0.1.0')
    .option('--url <url>', 'address of the API (GRAFT_URL)')
    .option('--api-key <key>', 'key to send; better from GRAFT_API_KEY or credentials.json')
    .option('--home <folder>', 'where credentials and graft.json are (GRAFT_HOME)')
    .option('--json', 'print JSON, for programs')
    .enablePositionalOptions()
    .showHelpAfterError('(graft --help shows the commands)')
    .addHelpText(
      'after',
      '\nExit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no API answers, 130 interrupted.',
    );
  for (const add of [
    addUp,
    addSubmit,
    addJobs,
    addWatch,
    addLogs,
    addChat,
    addFiles,
    addModels,
    addCheckpoints,
    addDownload,
    addKeys,
    addWorkers,
    addRun,
  ]) {
    add(graft);
  }
  for (const command of graft.commands) configure(command);
  return graft.exitOverride();
}

/** Global options may also stand after a command's name. */
function configure(command: Command): void {
  for (const inner of command.commands) configure(inner);
  for (const option of globalOptions()) {
    if (!command.options.some(({ long }) => long === option.long)) command.addOption(option);
  }
  command.exitOverride();
}

const globalOptions = (): Option[] => [
  new Option('--json', 'print JSON, for programs'),
  new Option('--url <url>').hideHelp(),
  new Option('--api-key <key>').hideHelp(),
  new Option('--home <folder>').hideHelp(),
];

async function main(): Promise<void> {
  try {
    await program().parseAsync(process.argv);
  } catch (error) {
    process.exitCode = report(error);
  }
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT.usage; // it has printed itself
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`graft: ${message}\n`);
  if (error instanceof CliError) return error.exitCode;
  if (process.env.GRAFT_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return EXIT.failed;
}

// `graft jobs | head` closes our output early, and that is no error
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

await main();
