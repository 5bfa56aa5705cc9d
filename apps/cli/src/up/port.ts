import { once } from 'node:events';
import { createServer } from 'node:net';
import { CliError } from '../cli-error.js';
import { readCredentials, type Kept } from '../config/credentials.js';
import type { Settings } from '../config/settings.js';

interface Port {
  readonly usual: number;
  /** The setting of the address it is on. */
  readonly host: 'host' | 'grpc-host';
  readonly of: string;
  before(kept: Kept): string | null;
}

const PORTS = {
  port: { usual: 8080, host: 'host', of: 'the API and dashboard', before: ({ url }) => url },
  'grpc-port': {
    usual: 8081,
    host: 'grpc-host',
    of: 'workers',
    before: ({ grpcUrl }) => grpcUrl,
  },
} as const satisfies Record<string, Port>;

/**
 * The port to serve on: the one that was asked for (an error when taken), else the one used last time, else
 * the usual one; a taken one gives way to a free one (0), and `say` says so.
 */
export async function choosePort(
  settings: Settings,
  key: keyof typeof PORTS,
  say: (text: string) => void,
): Promise<number> {
  const { usual, of, before, host: hostKey }: Port = PORTS[key];
  const host = settings.get(hostKey) ?? '127.0.0.1';
  const asked = settings.get(key);
  if (asked !== undefined) {
    const port = Number(asked);
    if (!Number.isInteger(port) || port < 0 || port > 65_535)
      throw new CliError(`"${asked}" is not a valid port`);
    if (!(await isFree(port, host)))
      throw new CliError(`port ${port} is already in use; choose another one with --${key}`);
    return port;
  }
  const kept = readCredentials(settings.home);
  const port = portOf(kept && before(kept)) ?? usual;
  if (await isFree(port, host)) return port;
  say(
    `port ${port} for ${of} is already in use; using a free one from now on (set it with --${key})`,
  );
  return 0;
}

// an address without a port in it names the scheme's own
const portOf = (url: string | null): number | null => {
  const port = /:(\d+)(?:\/|$)/.exec(url ?? '')?.[1];
  return port === undefined ? null : Number(port);
};

async function isFree(port: number, host: string): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, host);
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
