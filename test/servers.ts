// PostgreSQL and Redis shared by the specs: at the usual ports, unless the run has started its own
// (tools/setup/services.mjs).
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

export const POSTGRES_PORT = Number(process.env['GRAFT_TEST_POSTGRES_PORT'] ?? 5432);
export const POSTGRES = `postgres://postgres@127.0.0.1:${POSTGRES_PORT}`;
export const REDIS_PORT = Number(process.env['GRAFT_TEST_REDIS_PORT'] ?? 6379);
export const REDIS = `redis://127.0.0.1:${REDIS_PORT}`;

/**
 * Returns a new name for a database or a key prefix. If its run is killed, tools/test-run removes both by this name.
 */
export const uniqueName = (purpose: string): string =>
  `graft_test_${process.env['GRAFT_TEST_RUN'] ?? process.pid}_${purpose}_${randomBytes(5).toString('hex')}`;

/** First port and number of ports that the system does not use as ephemeral ports. */
function fixedPorts(): readonly [first: number, count: number] {
  let [low, high] = [32_768, 60_999];
  try {
    const range = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8');
    [low, high] = range.trim().split(/\s+/).map(Number) as [number, number];
  } catch {
    // not Linux: the usual range
  }
  return low > 20_000 ? [10_000, low - 10_000] : [high + 1, 65_535 - high];
}

/** Number of ports that each process tries before it reaches those of the next process id. */
const PORTS_PER_PROCESS = 64;
let taken = 0;

/**
 * Returns a port of 127.0.0.1 with no listener, outside the range of ephemeral ports. Processes try different ports, so
 * a killed server gets its port back when it restarts.
 */
export async function freePort(): Promise<number> {
  const [first, count] = fixedPorts();
  for (;;) {
    const port = first + ((process.pid * PORTS_PER_PROCESS + taken++) % count);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}
