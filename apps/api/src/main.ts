#!/usr/bin/env node
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeAdminKey } from './admin-key.js';
import { BACKUP_COMMANDS, backupCommand, type BackupCommand } from './backup/command.js';
import { DRAIN_MS } from './config.js';
import { startApi } from './index.js';
import { log } from './log.js';
import { migrateOnly } from './migrate-only.js';

const HELP = `graft-api: the control plane

  graft-api [options]            start the control plane
  graft-api admin-key [options]  create an administrator's key and print it; the API may be running.
                                 Options: --home, --database-url
  graft-api backup DIR           add a snapshot of the database and the blobs to DIR; the API may be
                                 running. Snapshots in DIR share their blobs. Options: --home,
                                 --database-url (requires pg_dump), --blobs
  graft-api verify DIR           read a whole snapshot; exit with 1 if it is damaged. Options: --snapshot
  graft-api restore DIR          restore a snapshot into an empty --home, or an empty database at
                                 --database-url. Options: --snapshot, --blobs
  graft-api --migrate-only       migrate the database, print each migration and exit: 0 if it is up to
                                 date, otherwise 1. Options: --home, --database-url, --queue-url

  --home DIR           database, blobs, credentials (GRAFT_HOME, default .graft)
  --host HOST          address of REST and the dashboard (GRAFT_HOST, default 127.0.0.1)
  --port N             port of REST and the dashboard, 0 = any free one (GRAFT_PORT, default 8080)
  --grpc-host HOST     address of the gateway for workers (GRAFT_GRPC_HOST, default 127.0.0.1)
  --grpc-port N        port of the gateway, 0 = any free one (GRAFT_GRPC_PORT, default 8081)
  --local-grpc-port N  second port of the gateway on 127.0.0.1 without TLS, for workers on this
                       host, 0 = any free one (GRAFT_LOCAL_GRPC_PORT, default 0)
  --grpc-tls-cert F    certificate chain of the gateway (GRAFT_GRPC_TLS_CERT)
  --grpc-tls-key F     key of that certificate (GRAFT_GRPC_TLS_KEY)
  --insecure-grpc      allow workers on other hosts without TLS, for private networks
                       (GRAFT_INSECURE_GRPC=1)
  --relay-host HOST    address at which other API processes of the installation reach this one
                       (GRAFT_RELAY_HOST, default 127.0.0.1)
  --relay-port N       port at which they reach it, 0 = any free one (GRAFT_RELAY_PORT, default 0)
  --scaler-host HOST   address of the external scaler for KEDA (GRAFT_SCALER_HOST, default 127.0.0.1)
  --scaler-port N      port of the scaler (GRAFT_SCALER_PORT, default: no scaler)
  --database-url URL   postgres://… (GRAFT_DATABASE_URL, default: embedded)
  --queue-url URL      redis://… (GRAFT_QUEUE_URL, default: in the database)
  --blobs WHERE        folder or s3://BUCKET/PREFIX for blobs (GRAFT_BLOBS, default: blobs in the
                       home). S3 is configured by AWS_REGION, AWS_ENDPOINT_URL_S3,
                       AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, …;
                       set GRAFT_S3_PATH_STYLE=1 for servers without a host for each bucket
  --blobs-presign      workers read from S3 directly (GRAFT_BLOBS_PRESIGN=1)
  --join-token-file F  file for the join token of workers (GRAFT_JOIN_TOKEN_FILE,
                       default: join-token in the home)
  --dashboard DIR      built dashboard to serve (GRAFT_DASHBOARD)
  --no-docs            do not serve /docs and /docs-json, which need no key (GRAFT_DOCS=0)
  --hub-url URL        Hugging Face hub (HF_ENDPOINT)
  --outbound-networks N
                       networks outside the public internet that webhooks may reach, such as
                       10.0.0.0/8,fd00::/8 (GRAFT_OUTBOUND_NETWORKS, default: none)
  --python PATH        interpreter of Python graders (GRAFT_PYTHON, default: no Python graders)
  --python-user NAME   user that runs Python graders, or "self" (GRAFT_PYTHON_USER)
  --trust-proxy P      trusted reverse proxies, whose X-Forwarded-For is used: their number or addresses
                       (GRAFT_TRUST_PROXY, default: none)
  --requests-per-minute N
                       limit for each API key, 0 = no limit (GRAFT_REQUESTS_PER_MINUTE, default 6000)
  --project-requests-per-minute N
                       limit for all keys of a project together, 0 = no limit
                       (GRAFT_PROJECT_REQUESTS_PER_MINUTE, default: 4 times that of a key)
  --streams-per-key N  open event streams for each key (GRAFT_STREAMS_PER_KEY, default 500)
  --streams-per-project N
                       open event streams for all keys of a project together
                       (GRAFT_STREAMS_PER_PROJECT, default: half of --streams, at least --streams-per-key)
  --streams N          open event streams in total (GRAFT_STREAMS, default 5000)
  --chat-queue N       chats that may wait for a free worker (GRAFT_CHAT_QUEUE, default 64)
  --chat-wait SECONDS  maximum time that a chat waits (GRAFT_CHAT_WAIT, default 30)
  --eval-wait SECONDS  maximum time that an eval run waits for a worker, capacity or tokens
                       (GRAFT_EVAL_WAIT, default 86400)
  --drain-seconds N    maximum time for running requests to finish after SIGTERM
                       (GRAFT_DRAIN_SECONDS, default 20)
  --min-run-seconds N  minimum run time of a job before one of higher priority may preempt it
                       (GRAFT_MIN_RUN_SECONDS, default 300)
  --snapshot NAME      snapshot in a backup folder (default: the newest)
  --blob-grace-hours N time for which unreferenced blobs remain on the disk, for backups
                       (GRAFT_BLOB_GRACE_HOURS, default 24)
  --audit-days N       time for which audit entries are kept, 0 = forever (GRAFT_AUDIT_DAYS, default 0)
  --delivery-days N    time for which webhook deliveries are kept, 0 = forever
                       (GRAFT_DELIVERY_DAYS, default 30)
  --restore-days N     time within which a deleted job can be restored (GRAFT_RESTORE_DAYS, default 7)
  --project-delete-days N
                       time within which a deleted project can be restored
                       (GRAFT_PROJECT_DELETE_DAYS, default 7; at least an hour)

Prints one line of JSON when it is ready: url, grpc_url, local_grpc_url (for a worker on this
host), credentials, join_token_file, warnings.
`;

/** Time to close after draining. Service managers kill the process 30 s after SIGTERM. */
const CLOSE_SECONDS = 8;

const text = { type: 'string' } as const;
const { values, positionals } = parseArgs({
  allowPositionals: true,
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
    'no-docs': { type: 'boolean' },
    'relay-host': text,
    'relay-port': text,
    'scaler-host': text,
    'scaler-port': text,
    'database-url': text,
    'queue-url': text,
    blobs: text,
    'blobs-presign': { type: 'boolean' },
    'join-token-file': text,
    dashboard: text,
    'hub-url': text,
    'outbound-networks': text,
    python: text,
    'python-user': text,
    'trust-proxy': text,
    'requests-per-minute': text,
    'project-requests-per-minute': text,
    'streams-per-key': text,
    'streams-per-project': text,
    streams: text,
    'chat-queue': text,
    'chat-wait': text,
    'drain-seconds': text,
    'eval-wait': text,
    'min-run-seconds': text,
    'blob-grace-hours': text,
    'audit-days': text,
    'delivery-days': text,
    'restore-days': text,
    'project-delete-days': text,
    'migrate-only': { type: 'boolean' },
    snapshot: text,
    help: { type: 'boolean' },
  },
});

/** Reads a setting from its flag or its environment variable. An empty variable counts as unset. */
const setting = (flag: string | undefined, variable: string): string | undefined =>
  flag ?? (process.env[variable] || undefined);

/** Parses an integer from 0 to `most`; exits if it is invalid. */
function whole(text: string | undefined, variable: string, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0 && value <= most) return value;
  process.stderr.write(`${variable}: expected an integer from 0 to ${most}, got ${text}\n`);
  process.exit(2);
}

function optionalWhole(
  flag: string | undefined,
  variable: string,
  most: number,
): number | undefined {
  const value = setting(flag, variable);
  return value === undefined ? undefined : whole(value, variable, most);
}

/** Splits a comma-separated list. */
const listOf = (text: string | undefined): string[] | undefined =>
  text?.split(',').flatMap((word) => word.trim() || []);

function port(flag: string | undefined, variable: string, otherwise: number): number {
  return whole(setting(flag, variable) ?? String(otherwise), variable, 65535);
}

const isBackup = (word = ''): word is BackupCommand =>
  (BACKUP_COMMANDS as readonly string[]).includes(word);
const [command, folder] = positionals;

if (values.help) {
  process.stdout.write(HELP);
} else if (isBackup(command)) {
  if (folder === undefined || positionals.length > 2) {
    process.stderr.write(`usage: graft-api ${command} DIR\n`);
    process.exit(2);
  }
  const where = {
    home: setting(values.home, 'GRAFT_HOME') ?? '.graft',
    databaseUrl: setting(values['database-url'], 'GRAFT_DATABASE_URL'),
    blobs: setting(values.blobs, 'GRAFT_BLOBS'),
  };
  const config = {
    home: where.home,
    ...(where.databaseUrl !== undefined && { databaseUrl: where.databaseUrl }),
    ...(where.blobs !== undefined && { blobs: where.blobs }),
    s3PathStyle: process.env['GRAFT_S3_PATH_STYLE'] === '1',
  };
  process.exit(await backupCommand(command, folder, { config, snapshot: values.snapshot }));
} else if (positionals.length > 0 && positionals.join(' ') !== 'admin-key') {
  process.stderr.write(`unknown command: ${positionals.join(' ')}; see graft-api --help\n`);
  process.exit(2);
} else if (positionals.length > 0) {
  try {
    const home = setting(values.home, 'GRAFT_HOME') ?? '.graft';
    const databaseUrl = setting(values['database-url'], 'GRAFT_DATABASE_URL');
    process.stdout.write(`${await makeAdminKey(home, databaseUrl ?? null)}\n`);
  } catch (error) {
    process.stderr.write(`no key was created: ${(error as Error).message}\n`);
    process.exit(1);
  }
} else if (values['migrate-only']) {
  try {
    let count = 0;
    const where = {
      home: setting(values.home, 'GRAFT_HOME') ?? '.graft',
      databaseUrl: setting(values['database-url'], 'GRAFT_DATABASE_URL'),
      queueUrl: setting(values['queue-url'], 'GRAFT_QUEUE_URL'),
    };
    await migrateOnly(where, (migration, seconds) => {
      count++;
      process.stdout.write(`${migration}: ${seconds.toFixed(1)} s\n`);
    });
    process.stdout.write(`the database is up to date; migrations applied: ${count}\n`);
  } catch (error) {
    process.stderr.write(`the database was not migrated: ${(error as Error).message}\n`);
    process.exit(1);
  }
} else {
  const home = setting(values.home, 'GRAFT_HOME') ?? '.graft';
  const joinTokenFile =
    setting(values['join-token-file'], 'GRAFT_JOIN_TOKEN_FILE') ?? join(home, 'join-token');
  const graceHours = optionalWhole(values['blob-grace-hours'], 'GRAFT_BLOB_GRACE_HOURS', 100_000);
  const auditDays = optionalWhole(values['audit-days'], 'GRAFT_AUDIT_DAYS', 100_000);
  const deliveryDays = optionalWhole(values['delivery-days'], 'GRAFT_DELIVERY_DAYS', 100_000);
  const chatWait = optionalWhole(values['chat-wait'], 'GRAFT_CHAT_WAIT', 3600);
  const drainSeconds =
    optionalWhole(values['drain-seconds'], 'GRAFT_DRAIN_SECONDS', 3600) ?? DRAIN_MS / 1000;
  const evalWait = optionalWhole(values['eval-wait'], 'GRAFT_EVAL_WAIT', 31_536_000);
  const optional = {
    host: setting(values.host, 'GRAFT_HOST'),
    grpcHost: setting(values['grpc-host'], 'GRAFT_GRPC_HOST'),
    grpcTlsCert: setting(values['grpc-tls-cert'], 'GRAFT_GRPC_TLS_CERT'),
    grpcTlsKey: setting(values['grpc-tls-key'], 'GRAFT_GRPC_TLS_KEY'),
    relayHost: setting(values['relay-host'], 'GRAFT_RELAY_HOST'),
    scalerHost: setting(values['scaler-host'], 'GRAFT_SCALER_HOST'),
    scalerPort: optionalWhole(values['scaler-port'], 'GRAFT_SCALER_PORT', 65535),
    databaseUrl: setting(values['database-url'], 'GRAFT_DATABASE_URL'),
    queueUrl: setting(values['queue-url'], 'GRAFT_QUEUE_URL'),
    blobs: setting(values.blobs, 'GRAFT_BLOBS'),
    dashboardDir: setting(values.dashboard, 'GRAFT_DASHBOARD'),
    python: setting(values.python, 'GRAFT_PYTHON'),
    pythonUser: setting(values['python-user'], 'GRAFT_PYTHON_USER'),
    trustProxy: setting(values['trust-proxy'], 'GRAFT_TRUST_PROXY'),
    hubUrl: setting(values['hub-url'], 'HF_ENDPOINT'),
    requestsPerMinute: optionalWhole(
      values['requests-per-minute'],
      'GRAFT_REQUESTS_PER_MINUTE',
      1e9,
    ),
    projectRequestsPerMinute: optionalWhole(
      values['project-requests-per-minute'],
      'GRAFT_PROJECT_REQUESTS_PER_MINUTE',
      1e9,
    ),
    streamsPerKey: optionalWhole(values['streams-per-key'], 'GRAFT_STREAMS_PER_KEY', 1e6),
    streamsPerProject: optionalWhole(
      values['streams-per-project'],
      'GRAFT_STREAMS_PER_PROJECT',
      1e6,
    ),
    streams: optionalWhole(values.streams, 'GRAFT_STREAMS', 1e6),
    chatQueue: optionalWhole(values['chat-queue'], 'GRAFT_CHAT_QUEUE', 10_000),
    outboundNetworks: listOf(setting(values['outbound-networks'], 'GRAFT_OUTBOUND_NETWORKS')),
    blobGraceMs: graceHours === undefined ? undefined : graceHours * 3_600_000,
    auditDays: auditDays === 0 ? null : auditDays,
    deliveryDays: deliveryDays === 0 ? null : deliveryDays,
    restoreDays: optionalWhole(values['restore-days'], 'GRAFT_RESTORE_DAYS', 100_000),
    projectDeleteDays: optionalWhole(
      values['project-delete-days'],
      'GRAFT_PROJECT_DELETE_DAYS',
      100_000,
    ),
    drainMs: drainSeconds * 1000,
    chatWaitMs: chatWait === undefined ? undefined : chatWait * 1000,
    evalWaitMs: evalWait === undefined ? undefined : evalWait * 1000,
    minRunSeconds: optionalWhole(values['min-run-seconds'], 'GRAFT_MIN_RUN_SECONDS', 1e9),
  };
  try {
    const api = await startApi({
      home,
      joinTokenFile,
      port: port(values.port, 'GRAFT_PORT', 8080),
      grpcPort: port(values['grpc-port'], 'GRAFT_GRPC_PORT', 8081),
      localGrpcPort: port(values['local-grpc-port'], 'GRAFT_LOCAL_GRPC_PORT', 0),
      relayPort: port(values['relay-port'], 'GRAFT_RELAY_PORT', 0),
      blobsPresign: values['blobs-presign'] ?? process.env['GRAFT_BLOBS_PRESIGN'] === '1',
      s3PathStyle: process.env['GRAFT_S3_PATH_STYLE'] === '1',
      docs: !(values['no-docs'] ?? process.env['GRAFT_DOCS'] === '0'),
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
        setTimeout(() => process.exit(1), (drainSeconds + CLOSE_SECONDS) * 1000).unref();
        void api
          .drain()
          .then(() => api.close())
          .then(() => process.exit(0));
      });
    }
  } catch (error) {
    process.stderr.write(`the control plane could not start: ${(error as Error).message}\n`);
    process.exit(1);
  }
}
