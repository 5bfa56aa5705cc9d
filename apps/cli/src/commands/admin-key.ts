import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { CliError } from '../cli-error.js';
import { callOf } from '../command-line.js';
import { API_MAIN } from '../paths.js';

export function addAdminKey(program: Command): void {
  program
    .command('admin-key')
    .description(
      "create an administrator's key where all are lost; on the server's machine, beside a running API or without",
    )
    .option('--database-url <url>', 'URL of an external PostgreSQL (default: the embedded server)')
    .action(async (_options: unknown, command: Command) => {
      const { settings, out } = callOf(command);
      if (!existsSync(API_MAIN))
        throw new CliError(`the API is not built (${API_MAIN} is missing); run npm run build`);
      const url = settings.get('database-url');
      const env = { ...process.env, ...(url === undefined ? {} : { GRAFT_DATABASE_URL: url }) };
      const child = spawn(process.execPath, [API_MAIN, 'admin-key', '--home', settings.home], {
        // its log is for the one who looks for a fault
        env: { ...env, GRAFT_LOG_LEVEL: settings.get('log-level') ?? 'warn' },
        stdio: ['ignore', 'inherit', 'inherit'],
      });
      const [code] = (await once(child, 'close')) as [number | null];
      if (code !== 0) throw new CliError('no key was made');
      out.note('save this secret now; it will not be shown again');
    });
}
