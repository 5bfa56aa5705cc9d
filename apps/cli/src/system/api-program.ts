import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { CliError } from '../cli-error.js';
import { API_MAIN } from '../paths.js';
import type { Settings } from '../config/settings.js';

/** Runs the API's own program on this machine, with access to its database, and prints its output. @returns whether it succeeded */
export async function runApiProgram(settings: Settings, args: readonly string[]): Promise<boolean> {
  if (!existsSync(API_MAIN))
    throw new CliError(`the API is not built (${API_MAIN} is missing); run npm run build`);
  const variables = [
    ['GRAFT_DATABASE_URL', settings.get('database-url')],
    ['GRAFT_BLOBS', settings.get('blobs')],
    // Info messages of the log are not for the user of the command.
    ['GRAFT_LOG_LEVEL', settings.get('log-level') ?? 'warn'],
  ] as const;
  const child = spawn(process.execPath, [API_MAIN, ...args, '--home', settings.home], {
    env: {
      ...process.env,
      ...Object.fromEntries(variables.filter(([, value]) => value !== undefined)),
    },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return code === 0;
}
