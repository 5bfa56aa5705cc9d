import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { CliError } from '../cli-error.js';
import { RUN_MAIN } from '../paths.js';

export function addRun(program: Command): void {
  program
    .command('run')
    .description('Train on this machine without a server')
    .argument('<job.json>', 'body of a create request, with "model": "dir:PATH" and file paths')
    .argument('[arguments...]')
    .option('-o, --out <folder>', 'folder for the adapter and metrics.jsonl')
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (job: string, rest: string[], options: { out?: string }) => {
      if (!existsSync(RUN_MAIN))
        throw new CliError(`the worker is not built (${RUN_MAIN} is missing); run npm run build`);
      const args = [
        RUN_MAIN,
        job,
        ...(options.out === undefined ? [] : ['--out', options.out]),
        ...rest,
      ];
      process.exitCode = await runThrough(args);
    });
}

function runThrough(args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: 'inherit' });
    const passOn = (signal: NodeJS.Signals): void => void child.kill(signal);
    process.on('SIGTERM', passOn);
    process.on('SIGINT', () => undefined); // The terminal also sends it to the child.
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? (signal === 'SIGINT' ? 130 : 143)));
  });
}
