#!/usr/bin/env node
// The control plane under load: a real API process (apps/api/test/process.mjs) on a real Postgres, without training:
//   node test/bench/api.mjs [--database postgres://postgres@127.0.0.1:5432] [--redis redis://127.0.0.1:6379]
//                           [--clients 8] [--jobs 800] [--upload-mb 64] [--chats 2000] [--listed 10000] [--cpu-prof FOLDER]
// --database: a server on which it may create and drop a database. --redis: the queue in Redis instead of Postgres.
// Prints: created jobs per second with p50 and p99; MB/s of an upload with validated lines; the time from submit to the
// start on a worker (a scripted gRPC worker that trains nothing); chats per second that a scripted worker answers
// immediately, so that only the control plane is measured; p99 of listing 20 jobs with --listed jobs in the table.
// Each figure is printed with the CPU seconds of the API and of Postgres (Linux, same machine), which are valid on a
// busy machine too; the times are only valid if the load before is near 0. Clients run on the same machine.
// --cpu-prof: writes a profile of the API for each part, to open in a browser's developer tools.
import { credentials, Metadata } from '@grpc/grpc-js';
import { SCHEMA_VERSION } from '@graft/contracts';
import { WorkerServiceClient } from '@graft/contracts/grpc';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Redis } from 'ioredis';
import pg from 'pg';
import { chats } from './chats.mjs';
import { importTinyBase } from './tiny-base.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const API = join(HERE, '../../apps/api/test/process.mjs');
const TICKS_PER_SECOND = 100;
/** Requests before the measurement starts, to open connections, compile code and fill caches. */
const WARM_UP = 100;
const STARTS = 20;
const LISTS = 500;
/** Number of concurrent chats that the scripted worker accepts. */
const MAX_CHATS = 64;
/** A pool without workers: its jobs stay queued. */
const IDLE_POOL = 'idle';

const { values: options } = parseArgs({
  options: {
    database: { type: 'string', default: 'postgres://postgres@127.0.0.1:5432' },
    redis: { type: 'string' },
    clients: { type: 'string', default: '8' },
    jobs: { type: 'string', default: '800' },
    'upload-mb': { type: 'string', default: '64' },
    chats: { type: 'string', default: '2000' },
    listed: { type: 'string', default: '10000' },
    'cpu-prof': { type: 'string' },
  },
});

const quantile = (values, q) =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))];

/** CPU seconds of a process in user and system mode; 0 when it has exited. */
function cpuSeconds(pid) {
  try {
    const [, rest] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(/\) /);
    const fields = rest.split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  } catch {
    return 0;
  }
}

class Installation {
  static async start() {
    const self = new Installation();
    self.home = mkdtempSync(join(tmpdir(), 'graft-bench-api-'));
    self.name = `graft_bench_${randomUUID().slice(0, 8)}`;
    self.admin = new pg.Client({ connectionString: `${options.database}/postgres` });
    await self.admin.connect();
    await self.admin.query(`CREATE DATABASE ${self.name}`);
    self.database = new pg.Client({ connectionString: `${options.database}/${self.name}` });
    await self.database.connect();
    await self.startApi();
    return self;
  }

  async startApi() {
    const config = {
      home: this.home,
      databaseUrl: `${options.database}/${this.name}`,
      queuePrefix: this.name,
      requestsPerMinute: 0,
      ...(options.redis ? { queueUrl: options.redis } : {}),
    };
    const profile = options['cpu-prof'];
    if (profile) mkdirSync(profile, { recursive: true });
    const flags = profile ? ['--cpu-prof', `--cpu-prof-dir=${resolve(profile)}`] : [];
    this.log = join(this.home, 'api.log');
    this.child = spawn(process.execPath, [...flags, API, JSON.stringify(config)], {
      stdio: ['ignore', 'pipe', openSync(this.log, 'a')],
    });
    const [line] = await Promise.race([
      once(this.child.stdout, 'data'),
      once(this.child, 'exit').then(() => {
        throw new Error(`the API exited:\n${readFileSync(this.log, 'utf8').slice(-2000)}`);
      }),
    ]);
    Object.assign(this, JSON.parse(String(line).replace(/^ready /, '')));
    this.agent = new Agent({ keepAlive: true, maxSockets: Number(options.clients) });
  }

  /** The profile is written when the process exits, so each part gets a process of its own. */
  async endPart() {
    if (!options['cpu-prof']) return;
    await this.stopApi();
    await this.startApi();
  }

  async stopApi() {
    this.agent.destroy();
    const exited = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    await exited;
  }

  async stop() {
    await this.stopApi();
    await this.database.end();
    await this.admin.query(`DROP DATABASE ${this.name} WITH (FORCE)`);
    await this.admin.end();
    if (options.redis) await forget(this.name);
    rmSync(this.home, { recursive: true, force: true });
  }

  /** CPU seconds of the API and of every backend of its database. */
  async cpu() {
    const { rows } = await this.database.query(
      'SELECT pid FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()',
      [this.name],
    );
    const postgres = new Map(rows.map(({ pid }) => [pid, cpuSeconds(pid)]));
    return { api: cpuSeconds(this.child.pid), postgres };
  }

  async used(before, times) {
    const now = await this.cpu();
    const postgres = [...now.postgres].reduce(
      (sum, [pid, seconds]) => sum + seconds - (before.postgres.get(pid) ?? 0),
      0,
    );
    const each = (seconds) => `${((1000 * seconds) / times).toFixed(2)} ms`;
    return `CPU per request: API ${each(now.api - before.api)}, Postgres ${each(postgres)}`;
  }

  call(method, path, body, headers = { 'content-type': 'application/json' }) {
    return new Promise((fulfil, reject) => {
      const outgoing = request(
        `${this.url}/v1${path}`,
        {
          method,
          agent: this.agent,
          headers: { ...headers, authorization: `Bearer ${this.apiKey}` },
        },
        (answer) => {
          const parts = [];
          answer.on('data', (part) => parts.push(part));
          answer.on('end', () => {
            const text = Buffer.concat(parts).toString();
            if (answer.statusCode === 200) fulfil(JSON.parse(text));
            else reject(new Error(`${method} ${path}: ${answer.statusCode} ${text}`));
          });
        },
      );
      outgoing.on('error', reject);
      outgoing.end(body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body));
    });
  }
}

/** Removes the keys that BullMQ stores in Redis under a prefix. */
async function forget(prefix) {
  const redis = new Redis(options.redis);
  const keys = await redis.keys(`${prefix}*`);
  if (keys.length > 0) await redis.del(keys);
  redis.disconnect();
}

/**
 * Random words with quotes, newlines and characters outside ASCII, so that JSON parsing is as expensive as
 * for prose.
 */
function prose() {
  const syllables = [
    'the',
    'wa',
    'ler',
    'of',
    'ship',
    '“',
    'é',
    'con',
    ',',
    '\n',
    'ing',
    'a',
    '"',
    'st',
    'ém',
  ];
  return Array.from({ length: 40_000 }, (_, n) =>
    Array.from({ length: 1 + ((n * 7) % 4) }, (_, k) => syllables[(n * 13 + k * 5) % 15]).join(''),
  );
}

function multipart(megabytes) {
  const records = chats(prose())
    .map((record) => `${JSON.stringify(record)}\n`)
    .join('');
  const times = Math.ceil((megabytes * 1e6) / Buffer.byteLength(records));
  const boundary = 'graft-bench';
  const head =
    `--${boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n` +
    `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="chats.jsonl"\r\n\r\n`;
  const parts = [head, ...Array.from({ length: times }, () => records), `\r\n--${boundary}--\r\n`];
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  return {
    body,
    headers: {
      'content-type': `multipart/form-data; boundary=${boundary}`,
      'content-length': body.length,
    },
  };
}

async function upload(graft, megabytes) {
  const { body, headers } = multipart(megabytes);
  const file = await graft.call('POST', '/files', body, headers);
  if (file.status !== 'processed')
    throw new Error(`the upload was rejected: ${file.status_details}`);
  return file;
}

/**
 * Uses the golden LLaMA as "tiny". Its tokenizer has one word: nothing is trained, but job creation tokenizes
 * the data.
 */
const jobBody = (file, pool, n) => ({
  model: 'tiny',
  training_file: file.id,
  seed: n,
  suffix: `bench-${n}`,
  metadata: { run: String(n) },
  peft: { peft_type: 'LORA', r: 8, lora_alpha: 16 },
  method: { type: 'supervised', supervised: { hyperparameters: { n_epochs: 1, batch_size: 8 } } },
  graft: { learning_rate: 2e-4, max_steps: 40, pool },
});

/** Calls `work` with 0, 1, … from `count` concurrent clients; returns the milliseconds of each call. */
async function clients(count, times, work) {
  const took = [];
  let next = 0;
  const client = async () => {
    while (next < times) {
      const n = next++;
      const from = performance.now();
      await work(n);
      took.push(performance.now() - from);
    }
  };
  await Promise.all(Array.from({ length: count }, client));
  return took;
}

async function measureCreates(graft, file) {
  const [count, times] = [Number(options.clients), Number(options.jobs)];
  const create = (n) => graft.call('POST', '/fine_tuning/jobs', jobBody(file, IDLE_POOL, n));
  await clients(count, WARM_UP, create);
  const before = await graft.cpu();
  const from = performance.now();
  const took = await clients(count, times, (n) => create(WARM_UP + n));
  const seconds = (performance.now() - from) / 1000;
  console.log(
    `create job   ${(times / seconds).toFixed(1)}/s with ${count} clients, p50 ${quantile(took, 0.5).toFixed(0)} ms, p99 ${quantile(took, 0.99).toFixed(0)} ms; ${await graft.used(before, times)}`,
  );
  await graft.endPart();
}

async function measureUpload(graft) {
  await upload(graft, 1);
  const { body, headers } = multipart(Number(options['upload-mb']));
  const before = await graft.cpu();
  const from = performance.now();
  const file = await graft.call('POST', '/files', body, headers);
  const seconds = (performance.now() - from) / 1000;
  if (file.status !== 'processed') throw new Error(file.status_details);
  const { api } = await graft.cpu();
  const megabytes = body.length / 1e6;
  console.log(
    `upload       ${(megabytes / seconds).toFixed(1)} MB/s, ${megabytes.toFixed(0)} MB, every line checked; CPU: API ${((1000 * (api - before.api)) / megabytes).toFixed(2)} ms per MB`,
  );
  await graft.endPart();
}

/** A worker that accepts every assignment and records the time. */
class ScriptedWorker {
  constructor(graft) {
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${graft.joinToken}`);
    this.client = new WorkerServiceClient(graft.grpcUrl, credentials.createInsecure());
    this.stream = this.client.connect(metadata);
    this.stream.on('error', () => undefined);
    this.send('hello', {
      schemaVersion: SCHEMA_VERSION,
      instanceId: randomUUID(),
      name: 'bench',
      pool: 'default',
      slots: 1,
      memoryBytes: 1e9,
      devices: ['cpu'],
      libtorch: 'none',
      trainerBuild: 'none',
      maxChats: MAX_CHATS,
      leases: [],
    });
  }

  send($case, value) {
    this.stream.write({ body: { $case, value } });
  }

  /** Sends heartbeats at the interval of a real worker; a worker without heartbeats gets no assignments. */
  beat() {
    this.beating = setInterval(
      () =>
        this.send('heartbeat', {
          sequence: 0,
          leases: [],
          residentBases: [],
          freeSlots: 1,
          rssBytes: 0,
          freeMemoryBytes: 1e9,
          sentUnixMs: Date.now(),
        }),
      5_000,
    );
  }

  /** Answers every chat immediately with one word, without a limit on their number. */
  answer() {
    this.stream.on('data', ({ body }) => {
      if (body?.$case !== 'modelRequest') return;
      const { id } = body.value;
      const counts = { prompt_tokens: 9, completion_tokens: 1 };
      const piece = { text: 'Ahoy', finish_reason: 'stop', ...counts };
      const empty = { errorCode: '', errorMessage: '', errorParam: '', phase: '' };
      this.send('modelResponse', {
        id,
        pieces: [Buffer.from(JSON.stringify(piece))],
        last: true,
        ...empty,
      });
    });
  }

  async assigned() {
    for (;;) {
      const [{ body }] = await once(this.stream, 'data');
      if (body?.$case === 'assignment') return performance.now();
    }
  }

  end() {
    clearInterval(this.beating);
    this.stream.cancel();
    this.client.close();
  }
}

async function measureStarts(graft, file) {
  const worker = new ScriptedWorker(graft);
  await once(worker.stream, 'data');
  worker.beat();
  const took = [];
  for (let n = 0; n < STARTS; n++) {
    worker.send('pull', { freeSlots: 1, residentBases: [], freeMemoryBytes: 1e9 });
    const start = worker.assigned();
    const from = performance.now();
    const job = await graft.call('POST', '/fine_tuning/jobs', jobBody(file, 'default', n));
    took.push((await start) - from);
    await graft.call('POST', `/fine_tuning/jobs/${job.id}/cancel`);
  }
  worker.end();
  console.log(
    `start        ${quantile(took, 0.5).toFixed(0)} ms from submit to the worker, median of ${STARTS}; worst ${Math.max(...took).toFixed(0)} ms`,
  );
}

async function measureChats(graft) {
  const worker = new ScriptedWorker(graft);
  await once(worker.stream, 'data');
  worker.answer();
  worker.beat();
  worker.send('pull', {
    freeSlots: 1,
    residentBases: [],
    freeMemoryBytes: 1e9,
    freeChats: MAX_CHATS,
  });
  const [count, times] = [Number(options.clients), Number(options.chats)];
  const messages = [{ role: 'user', content: 'Greet the crew.' }];
  const chat = () => graft.call('POST', '/chat/completions', { model: 'tiny', messages });
  await clients(count, WARM_UP, chat);
  const before = await graft.cpu();
  const from = performance.now();
  const took = await clients(count, times, chat);
  const seconds = (performance.now() - from) / 1000;
  worker.end();
  console.log(
    `chat         ${(times / seconds).toFixed(1)}/s with ${count} clients, p50 ${quantile(took, 0.5).toFixed(0)} ms, p99 ${quantile(took, 0.99).toFixed(0)} ms, answered immediately; ${await graft.used(before, times)}`,
  );
  await graft.endPart();
}

/** Fills the table with copies of one finished job, which differ only in id and time. */
async function fill(graft, total) {
  const { rows: columns } = await graft.database.query(
    `SELECT quote_ident(column_name) AS name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = 'job'`,
  );
  const made = {
    id: `'ftjob-' || lpad(n::text, 24, '0')`,
    created_at: `created_at - n * interval '1 second'`,
  };
  const names = columns.map(({ name }) => name);
  await graft.database.query(
    `INSERT INTO public.job (${names.join()}) SELECT ${names.map((name) => made[name] ?? name).join()}
     FROM (SELECT * FROM job WHERE state = 'cancelled' LIMIT 1) AS one,
       generate_series(1, $1 - (SELECT count(*)::int FROM job)) AS n`,
    [total],
  );
  await graft.database.query('ANALYZE job');
}

async function measureList(graft) {
  await fill(graft, Number(options.listed));
  const list = () => graft.call('GET', '/fine_tuning/jobs?limit=20');
  await clients(1, WARM_UP, list);
  const before = await graft.cpu();
  const took = await clients(1, LISTS, list);
  console.log(
    `list 20 jobs p50 ${quantile(took, 0.5).toFixed(0)} ms, p99 ${quantile(took, 0.99).toFixed(0)} ms with ${options.listed} jobs, one client; ${await graft.used(before, LISTS)}`,
  );
  await graft.endPart();
}

console.log(
  `load before: ${loadavg()[0].toFixed(2)}, queue in ${options.redis ? 'Redis' : 'Postgres'}`,
);
const graft = await Installation.start();
try {
  await importTinyBase(join(graft.home, 'tiny'), (...args) => graft.call(...args));
  const file = await upload(graft, 0.1);
  await measureCreates(graft, file);
  await measureUpload(graft);
  await measureStarts(graft, file);
  await measureChats(graft);
  await measureList(graft);
} finally {
  await graft.stop();
}
console.log(`load after: ${loadavg()[0].toFixed(2)}`);
