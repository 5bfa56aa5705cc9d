import { once } from 'node:events';
import { createServer } from 'node:net';
import { CliError } from '../cli-error.js';
import type { Settings } from '../settings.js';
import { readCredentials } from '../credentials.js';

const USUAL = 8080;

/**
 * The port to serve on: the one that was asked for (an error when taken), else the one used last time, else
 * 8080; a taken one gives way to a free one.
 */
export async function choosePort(settings: Settings): Promise<number> {
  const asked = settings.get('port');
  if (asked !== undefined) {
    const port = Number(asked);
    if (!Number.isInteger(port) || port < 0 || port > 65_535)
      throw new CliError(`port "${asked}" is no port number`);
    if (!(await isFree(port)))
      throw new CliError(`port ${port} is taken by another program; give another one with --port`);
    return port;
  }
  const before = Number(
    new URL(readCredentials(settings.home)?.url ?? `http://127.0.0.1:${USUAL}`).port,
  );
  return (await isFree(before)) ? before : 0;
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
