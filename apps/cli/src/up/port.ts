import { once } from 'node:events';
import { createServer } from 'node:net';
import { CliError } from '../cli-error.js';
import { readCredentials, type StoredCredentials } from '../config/credentials.js';
import type { Settings } from '../config/settings.js';

interface Port {
  readonly default: number;
  /** Setting of the address that it listens on. */
  readonly host: 'host' | 'grpc-host';
  readonly users: string;
  previous(stored: StoredCredentials): string | null;
}

const PORTS = {
  port: { default: 8080, host: 'host', users: 'the API and dashboard', previous: ({ url }) => url },
  'grpc-port': {
    default: 8081,
    host: 'grpc-host',
    users: 'workers',
    previous: ({ grpcUrl }) => grpcUrl,
  },
} as const satisfies Record<string, Port>;

/**
 * Chooses the port to serve on: the requested one, otherwise the previous one, otherwise the default. If the previous or
 * default port is in use, returns 0 for a free port and reports that with `report`.
 * @throws CliError if the requested port is invalid or in use
 */
export async function choosePort(
  settings: Settings,
  key: keyof typeof PORTS,
  report: (text: string) => void,
): Promise<number> {
  const { default: usual, users, previous, host: hostKey }: Port = PORTS[key];
  const host = settings.get(hostKey) ?? '127.0.0.1';
  const requested = settings.get(key);
  if (requested !== undefined) {
    const port = Number(requested);
    if (!Number.isInteger(port) || port < 0 || port > 65_535)
      throw new CliError(`"${requested}" is not a valid port`);
    if (!(await isFree(port, host)))
      throw new CliError(`port ${port} is already in use; choose another one with --${key}`);
    return port;
  }
  const stored = readCredentials(settings.home);
  const port = portOf(stored && previous(stored)) ?? usual;
  if (await isFree(port, host)) return port;
  report(
    `port ${port} for ${users} is already in use; using a free port instead (set it with --${key})`,
  );
  return 0;
}

// A URL without a port means the default port of its scheme.
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
