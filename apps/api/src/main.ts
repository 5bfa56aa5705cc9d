#!/usr/bin/env node
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { optionsHelp, parserOptions, sourceOf } from '@graft/contracts';
import { makeAdminKey } from './admin-key.js';
import { BACKUP_COMMANDS, backupCommand, type BackupCommand } from './backup/command.js';
import { DRAIN_MS } from './config.js';
import { startApi } from './index.js';
import { log } from './log.js';
import { migrateOnly } from './migrate-only.js';
import { API_OPTIONS, type ApiFlag } from './options.js';

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
  graft-api --migrate-only       migrate the database and exit. Options: --home, --database-url, --queue-url

${optionsHelp(API_OPTIONS)}

Prints one line of JSON when it is ready: url, grpc_url, local_grpc_url (for a worker on this
host), credentials, join_token_file, warnings.
`;

/** Time to close after draining. Service managers kill the process 30 s after SIGTERM. */
const CLOSE_SECONDS = 8;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { ...parserOptions(API_OPTIONS), help: { type: 'boolean' } },
});

/** Returns an option from its flag or its environment variable. An empty variable counts as unset. */
const setting = (flag: ApiFlag): string | undefined =>
  values[flag] ?? (process.env[sourceOf(API_OPTIONS, flag).variable] || undefined);

/** Parses an integer from 0 to `most`; exits if it is invalid. */
function whole(flag: ApiFlag, most: number): number | undefined {
  const text = setting(flag);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0 && value <= most) return value;
  const { variable } = sourceOf(API_OPTIONS, flag);
  process.stderr.write(`${variable}: expected an integer from 0 to ${most}, got ${text}\n`);
  process.exit(2);
}

/** Splits a comma-separated list. */
const listOf = (text: string | undefined): string[] | undefined =>
  text?.split(',').flatMap((word) => word.trim() || []);

/** Parses a port, whose option has a number as its default. */
const port = (flag: ApiFlag): number =>
  whole(flag, 65535) ?? Number(sourceOf(API_OPTIONS, flag).fallback);

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
    home: setting('home') ?? '.graft',
    databaseUrl: setting('database-url'),
    blobs: setting('blobs'),
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
    const home = setting('home') ?? '.graft';
    const databaseUrl = setting('database-url');
    process.stdout.write(`${await makeAdminKey(home, databaseUrl ?? null)}\n`);
  } catch (error) {
    process.stderr.write(`no key was created: ${(error as Error).message}\n`);
    process.exit(1);
  }
} else if (values['migrate-only']) {
  try {
    let count = 0;
    const where = {
      home: setting('home') ?? '.graft',
      databaseUrl: setting('database-url'),
      queueUrl: setting('queue-url'),
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
  const home = setting('home') ?? '.graft';
  const joinTokenFile = setting('join-token-file') ?? join(home, 'join-token');
  const graceHours = whole('blob-grace-hours', 100_000);
  const auditDays = whole('audit-days', 100_000);
  const deliveryDays = whole('delivery-days', 100_000);
  const responseDays = whole('response-days', 100_000);
  const chatWait = whole('chat-wait', 3600);
  const drainSeconds = whole('drain-seconds', 3600) ?? DRAIN_MS / 1000;
  const evalWait = whole('eval-wait', 31_536_000);
  const optional = {
    host: setting('host'),
    grpcHost: setting('grpc-host'),
    grpcTlsCert: setting('grpc-tls-cert'),
    grpcTlsKey: setting('grpc-tls-key'),
    relayHost: setting('relay-host'),
    scalerHost: setting('scaler-host'),
    scalerPort: whole('scaler-port', 65535),
    databaseUrl: setting('database-url'),
    queueUrl: setting('queue-url'),
    blobs: setting('blobs'),
    dashboardDir: setting('dashboard'),
    python: setting('python'),
    pythonUser: setting('python-user'),
    trustProxy: setting('trust-proxy'),
    hubUrl: setting('hub-url'),
    requestsPerMinute: whole('requests-per-minute', 1e9),
    projectRequestsPerMinute: whole('project-requests-per-minute', 1e9),
    streamsPerKey: whole('streams-per-key', 1e6),
    streamsPerProject: whole('streams-per-project', 1e6),
    streams: whole('streams', 1e6),
    chatQueue: whole('chat-queue', 10_000),
    outboundNetworks: listOf(setting('outbound-networks')),
    blobGraceMs: graceHours === undefined ? undefined : graceHours * 3_600_000,
    auditDays: auditDays === 0 ? null : auditDays,
    deliveryDays: deliveryDays === 0 ? null : deliveryDays,
    responseDays: responseDays === 0 ? null : responseDays,
    restoreDays: whole('restore-days', 100_000),
    projectDeleteDays: whole('project-delete-days', 100_000),
    drainMs: drainSeconds * 1000,
    chatWaitMs: chatWait === undefined ? undefined : chatWait * 1000,
    evalWaitMs: evalWait === undefined ? undefined : evalWait * 1000,
    minRunSeconds: whole('min-run-seconds', 1e9),
  };
  try {
    const api = await startApi({
      home,
      joinTokenFile,
      port: port('port'),
      grpcPort: port('grpc-port'),
      localGrpcPort: port('local-grpc-port'),
      relayPort: port('relay-port'),
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
