#!/usr/bin/env node
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startApi } from './index.js';
import { log } from './log.js';

const HELP = `graft-api: the control plane

  --home DIR           database, blobs, credentials (GRAFT_HOME, default .graft)
  --host HOST          address of REST and the dashboard (GRAFT_HOST, default 127.0.0.1)
  --port N             their port, 0 = any free one (GRAFT_PORT, default 8080)
  --grpc-host HOST     address that workers connect to (GRAFT_GRPC_HOST, default 127.0.0.1)
  --grpc-port N        its port, 0 = any free one (GRAFT_GRPC_PORT, default 8081)
  --local-grpc-port N  port of 127.0.0.1 without TLS beside one with TLS, for workers on this
                       host, 0 = any free one (GRAFT_LOCAL_GRPC_PORT, default 0)
  --grpc-tls-cert F    certificate chain that the port for workers shows (GRAFT_GRPC_TLS_CERT)
  --grpc-tls-key F     its key (GRAFT_GRPC_TLS_KEY)
  --insecure-grpc      workers on other hosts without TLS, on a private network
                       (GRAFT_INSECURE_GRPC=1)
  --database-url URL   postgres://… (GRAFT_DATABASE_URL, default: embedded)
  --queue-url URL      redis://… (GRAFT_QUEUE_URL, default: in the database)
  --join-token-file F  where the workers' join token is kept (GRAFT_JOIN_TOKEN_FILE,
                       default: join-token in the home)
  --dashboard DIR      built dashboard to serve (GRAFT_DASHBOARD)
  --hub-url URL        Hugging Face hub (HF_ENDPOINT)
  --requests-per-minute N
                       what a key may send, 0 = any number (GRAFT_REQUESTS_PER_MINUTE, default 6000)

Prints one line of JSON when it is ready: url, grpc_url, local_grpc_url (for a worker on this
host), credentials, join_token_file, warnings.
`;

const text = { type: 'string' } as const;
const { values } = parseArgs({
  options: {
    home: text,
    host: text,
    port: text,
    'grpc-host': text,
    'grpc-port': text,
    'local-grpc-port': text,
    'grpc-tls-cert': text,
    'grpc-tls-key': text,
    'insecure-grpc': { type: 'boolean' },
    'database-url': text,
    'queue-url': text,
    'join-token-file': text,
    dashboard: text,
    'hub-url': text,
    'requests-per-minute': text,
    help: { type: 'boolean' },
  },
});

/** Flag, then environment, then default; an empty variable counts as absent. */
const setting = (flag: string | undefined, variable: string): string | undefined =>
  flag ?? (process.env[variable] || undefined);

/** A whole number from 0 to `most`. */
function whole(text: string | undefined, variable: string, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0 && value <= most) return value;
  process.stderr.write(`${variable}: not a number from 0 to ${most}: ${text}\n`);
  process.exit(2);
}

function port(flag: string | undefined, variable: string, otherwise: number): number {
  return whole(setting(flag, variable) ?? String(otherwise), variable, 65535);
}

if (values.help) {
  process.stdout.write(HELP);
} else {
  const home = setting(values.home, 'GRAFT_HOME') ?? '.graft';
  const joinTokenFile =
    setting(values['join-token-file'], 'GRAFT_JOIN_TOKEN_FILE') ?? join(home, 'join-token');
  const perMinute = setting(values['requests-per-minute'], 'GRAFT_REQUESTS_PER_MINUTE');
  const optional = {
    host: setting(values.host, 'GRAFT_HOST'),
    grpcHost: setting(values['grpc-host'], 'GRAFT_GRPC_HOST'),
    grpcTlsCert: setting(values['grpc-tls-cert'], 'GRAFT_GRPC_TLS_CERT'),
    grpcTlsKey: setting(values['grpc-tls-key'], 'GRAFT_GRPC_TLS_KEY'),
    databaseUrl: setting(values['database-url'], 'GRAFT_DATABASE_URL'),
    queueUrl: setting(values['queue-url'], 'GRAFT_QUEUE_URL'),
    dashboardDir: setting(values.dashboard, 'GRAFT_DASHBOARD'),
    hubUrl: setting(values['hub-url'], 'HF_ENDPOINT'),
    requestsPerMinute:
      perMinute === undefined ? undefined : whole(perMinute, 'GRAFT_REQUESTS_PER_MINUTE', 1e9),
  };
  try {
    const api = await startApi({
      home,
      joinTokenFile,
      port: port(values.port, 'GRAFT_PORT', 8080),
      grpcPort: port(values['grpc-port'], 'GRAFT_GRPC_PORT', 8081),
      localGrpcPort: port(values['local-grpc-port'], 'GRAFT_LOCAL_GRPC_PORT', 0),
      insecureGrpc: values['insecure-grpc'] ?? process.env['GRAFT_INSECURE_GRPC'] === '1',
      ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
    });
    const ready = {
      url: api.url,
      grpc_url: api.grpcUrl,
      local_grpc_url: api.localGrpcUrl,
      credentials: join(home, 'credentials.json'),
      join_token_file: joinTokenFile,
      warnings: api.warnings,
    };
    process.stdout.write(JSON.stringify(ready) + '\n');
    let stopping = false;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        if (stopping) process.exit(1);
        stopping = true;
        log.info({ signal }, 'stopping');
        setTimeout(() => process.exit(1), 15_000).unref();
        void api.close().then(() => process.exit(0));
      });
    }
  } catch (error) {
    process.stderr.write(`the control plane could not start: ${(error as Error).message}\n`);
    process.exit(1);
  }
}
