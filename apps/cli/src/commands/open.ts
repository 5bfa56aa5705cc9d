import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Command } from 'commander';
import { CliError, EXIT } from '../cli-error.js';
import { GRAFT } from '../called.js';
import { ApiError, type Api } from '../client/api.js';
import { callOf } from '../command-line/command-line.js';
import { findFileId } from '../find/find-file.js';
import { findJobIfAny } from '../find/find-job.js';
import { findSweepIdIfAny } from '../find/find-sweep.js';
import { printable } from '../output/terminal.js';

export function addOpen(program: Command): void {
  program
    .command('open')
    .description('Open a page of the dashboard in the browser')
    .argument('[name]', 'job, sweep, model or file (default: the start page)')
    .option('--print', 'print the address instead')
    .action(async (name: string | undefined, { print }: { print?: boolean }, command: Command) => {
      const { out, api } = callOf(command);
      const client = api();
      const path = name === undefined ? '/' : await pageOf(client, name);
      const url = client.credentials.url.replace(/\/v1$/, '') + path;
      if (out.json) return out.value({ url });
      const opener = print ? null : openerOf(process.platform, process.env);
      if (opener !== null && process.stdout.isTTY && (await opened(opener, url)))
        out.note(`Opened ${url}`);
      else out.line(url);
    });
}

/** Path of the page of a job, sweep, model or file. */
async function pageOf(api: Api, name: string): Promise<string> {
  const pages = [
    async () => page('/jobs', (await findJobIfAny(api, name))?.id ?? null),
    async () => page('/sweeps', await findSweepIdIfAny(api, name)),
    async () => (await isModel(api, name)) && `/chat?model=${encodeURIComponent(name)}`,
    async () => page('/files', await findFileId(api, name)),
  ];
  for (const find of pages) {
    const path = await find().catch(unlessMissing);
    if (path) return path;
  }
  throw new CliError(
    `no job, sweep, model or file named ${printable(name)}; see ${GRAFT} jobs, ${GRAFT} models and ${GRAFT} files`,
  );
}

const page = (folder: string, id: string | null): string | null =>
  id === null ? null : `${folder}/${encodeURIComponent(id)}`;

const isModel = (api: Api, name: string): Promise<boolean> =>
  api.get(`/models/${encodeURIComponent(name)}`).then(() => true);

/** Errors mean that there is no such object, unless the name is ambiguous or the API cannot be reached. */
function unlessMissing(error: unknown): null {
  const isMissing =
    error instanceof ApiError
      ? [403, 404].includes(error.status)
      : error instanceof CliError && error.exitCode === EXIT.failed;
  if (isMissing) return null;
  throw error;
}

/** Command that opens an address. Null if there is no display. */
export function openerOf(
  platform: NodeJS.Platform,
  env: Readonly<Record<string, string | undefined>>,
): readonly string[] | null {
  if (platform === 'darwin') return ['open'];
  if (platform === 'win32') return ['cmd', '/c', 'start', '""'];
  return env['DISPLAY'] || env['WAYLAND_DISPLAY'] ? ['xdg-open'] : null;
}

/** Starts the browser. Returns whether the opener could be started. */
async function opened([program = '', ...args]: readonly string[], url: string): Promise<boolean> {
  const child = spawn(program, [...args, url], { stdio: 'ignore', detached: true });
  child.unref();
  const started = await once(child, 'spawn').then(
    () => true,
    () => false,
  );
  return started;
}
