#!/usr/bin/env node
import { CommanderError } from 'commander';
import { CliError, EXIT } from './cli-error.js';
import { firstScreen, program } from './program.js';

async function main(): Promise<void> {
  try {
    if (process.argv.length === 2) process.stdout.write(firstScreen());
    else await program().parseAsync(process.argv);
  } catch (error) {
    process.exitCode = report(error);
  }
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT.usage; // Commander has printed it.
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`graft: ${message}\n`);
  if (error instanceof CliError) return error.exitCode;
  if (process.env.GRAFT_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return EXIT.failed;
}

// `graft jobs | head` closes stdout early, which is not an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

await main();
