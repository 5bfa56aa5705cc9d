#!/usr/bin/env node
// Event streams under load: two real API processes on one Postgres, and clients that watch through both of them.
//   node test/bench/streams.mjs [--database postgres://postgres@127.0.0.1:5432] [--watchers 2000] [--jobs 20] [--seconds 30]
// --database: a server on which it may create and drop a database. Nine of ten clients watch a job, the others watch
// the project; each job has a step per second, reported by a scripted worker that is connected to the first process.
// Prints the delay from the report of a step to the watchers of its job, the number of lost or duplicated steps, the
// memory and CPU of both processes, Postgres' CPU, and its transactions per second. Clients run on the same machine.
import { credentials, Metadata } from '@grpc/grpc-js';
import { SCHEMA_VERSION } from '@graft/contracts';
import { WorkerServiceClient } from '@graft/contracts/grpc';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { get } from 'node:http';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { importTinyBase } from './tiny-base.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const API = join(HERE, '../../apps/api/test/process.mjs');
const TICKS_PER_SECOND = 100;

const { values: options } = parseArgs({
  options: {
    database: { type: 'string', default: 'postgres://postgres@127.0.0.1:5432' },
    watchers: { type: 'string', default: '2000' },
    jobs: { type: 'string', default: '20' },
    seconds: { type: 'string', default: '30' },
  },
});
const [WATCHERS, JOBS, SECONDS] = [options.watchers, options.jobs, options.seconds].map(Number);

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const quantile = (values, q) =>
  values.sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))];

async function until(holds, what) {
  for (const end = Date.now() + 180_000; !(await holds()); await pause(50))
    if (Date.now() > end) throw new Error(`waited too long for ${what}`);
}

function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(/\) /)[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}
const rssMegabytes = (pid) =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;

async function startApi(home, name) {
  const config = {
    home,
    databaseUrl: `${options.database}/${name}`,
    queuePrefix: name,
    requestsPerMinute: 0,
    streamsPerKey: WATCHERS,
    streams: WATCHERS,
  };
  const child = spawn(process.execPath, [API, JSON.stringify(config)], {
    stdio: ['ignore', 'pipe', openSync(join(home, 'api.log'), 'a')],
  });
  const [line] = await Promise.race([
    once(child.stdout, 'data'),
    once(child, 'exit').then(() => {
      throw new Error(
        `the API exited:\n${readFileSync(join(home, 'api.log'), 'utf8').slice(-2000)}`,
      );
    }),
  ]);
  return { child, ...JSON.parse(String(line).replace(/^ready /, '')) };
}

async function call(api, method, path, body, type = 'application/json') {
  const response = await fetch(`${api.url}/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${api.apiKey}`, 'content-type': type },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${method} ${path}: ${JSON.stringify(answer)}`);
  return answer;
}

/** A worker with capacity for all jobs, which reports a step of each on request. */
class Worker {
  leases = [];
  sequence = 0;
  batches = 0;

  constructor(api) {
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${api.joinToken}`);
    this.client = new WorkerServiceClient(api.grpcUrl, credentials.createInsecure());
    this.stream = this.client.connect(metadata);
    this.stream.on('error', () => undefined);
    this.stream.on('data', ({ body }) => {
      if (body?.$case === 'assignment') this.leases.push(body.value);
    });
    this.send('hello', {
      schemaVersion: SCHEMA_VERSION,
      instanceId: randomUUID(),
      name: 'bench',
      pool: 'default',
      slots: JOBS,
      memoryBytes: 1e9,
      devices: ['cpu'],
      libtorch: 'none',
      trainerBuild: 'none',
      leases: [],
    });
    this.beating = setInterval(() => this.beat(), 4_000);
  }

  send($case, value) {
    this.stream.write({ body: { $case, value } });
  }

  beat() {
    const leases = this.leases.map(({ jobId, attempt }) => ({ jobId, attempt, step: 0 }));
    const capacity = { residentBases: [], freeSlots: JOBS - leases.length, freeMemoryBytes: 1e9 };
    this.send('heartbeat', {
      ...capacity,
      sequence: 0,
      leases,
      rssBytes: 0,
      sentUnixMs: Date.now(),
    });
    this.send('pull', capacity);
  }

  report(kind, payload) {
    this.sequence++;
    const events = this.leases.map(({ jobId, attempt }) => ({
      jobId,
      attempt,
      sequence: this.sequence,
      atUnixMs: Date.now(),
      kind,
      payload: Buffer.from(JSON.stringify(payload)),
    }));
    this.send('events', { sequence: ++this.batches, events });
  }

  started() {
    this.report('started', {
      from_step: 0,
      total_steps: SECONDS + 1,
      trainable_parameters: 1,
      total_parameters: 1,
      training_examples: 1,
    });
  }

  step(number) {
    const metrics = {
      loss: 1,
      accuracy: 0.5,
      supervised_tokens: 1,
      learning_rate: 1,
      grad_norm: 1,
    };
    const costs = { tokens: 1, seconds: 1, waited_seconds: 0, rss_bytes: 1 };
    this.report('step', { step: number, ...costs, metrics });
  }

  end() {
    clearInterval(this.beating);
    this.stream.cancel();
    this.client.close();
  }
}

/** Report time of each step, and the delay to each watcher. */
const reportedAt = new Map();
const took = [];
let opened = 0;
let wrong = 0;

function watchJob(api, id) {
  let last = 0;
  watch(api, `/fine_tuning/jobs/${id}/stream`, (block) => {
    const number = Number(/^id: (\d+)$/m.exec(block)?.[1] ?? 0);
    if (number === 0) return;
    if (number !== last + 1) wrong++;
    last = number;
    const step = /^event: metrics\n/m.test(block) && /"step":(\d+)/.exec(block);
    if (step) took.push(performance.now() - reportedAt.get(Number(step[1])));
  });
}

function watch(api, path, seen) {
  const headers = { authorization: `Bearer ${api.apiKey}` };
  get(`${api.url}/v1${path}`, { headers, agent: false }, (response) => {
    if (response.statusCode !== 200) throw new Error(`${path}: ${response.statusCode}`);
    let rest = '';
    let first = true;
    response.setEncoding('utf8').on('error', () => undefined);
    response.on('data', (piece) => {
      const blocks = (rest + piece).split('\n\n');
      rest = blocks.pop();
      for (const block of blocks) {
        if (first && block.includes('event: ')) {
          opened++;
          first = false;
        }
        seen(block);
      }
    });
  }).on('error', () => undefined);
}

const name = `graft_bench_${randomUUID().slice(0, 8)}`;
const admin = new pg.Client({ connectionString: `${options.database}/postgres` });
await admin.connect();
await admin.query(`CREATE DATABASE ${name}`);
const home = mkdtempSync(join(tmpdir(), 'graft-bench-streams-'));
const apis = [await startApi(home, name), await startApi(home, name)];
const [first] = apis;

/** CPU seconds of both processes and of Postgres, and the transactions so far. */
async function used() {
  const { rows } = await admin.query(
    `SELECT (SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1) AS transactions,
       ARRAY(SELECT pid FROM pg_stat_activity WHERE datname = $1) AS backends`,
    [name],
  );
  const [{ transactions, backends }] = rows;
  return {
    transactions: Number(transactions),
    api: apis.map(({ child }) => cpuSeconds(child.pid)),
    postgres: backends.reduce((sum, pid) => sum + cpuSeconds(pid), 0),
  };
}

try {
  console.log(`load before: ${loadavg()[0].toFixed(2)}`);
  await importTinyBase(join(home, 'tiny'), (...args) => call(first, ...args));
  const boundary = 'graft-bench';
  const file = await call(
    first,
    'POST',
    '/files',
    `--${boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n` +
      `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n` +
      `${'{"prompt":"a","completion":"b"}\n'.repeat(12)}\r\n--${boundary}--\r\n`,
    `multipart/form-data; boundary=${boundary}`,
  );
  const jobs = [];
  for (let n = 0; n < JOBS; n++)
    jobs.push(
      await call(first, 'POST', '/fine_tuning/jobs', {
        model: 'tiny',
        training_file: file.id,
        seed: n,
      }),
    );
  const worker = new Worker(first);
  await once(worker.stream, 'data');
  worker.beat();
  await until(() => worker.leases.length === JOBS, 'the assignments');
  worker.started();

  for (let n = 0; n < WATCHERS; n++) {
    const api = apis[n % 2];
    if (n % 10 === 9) watch(api, '/stream', () => undefined);
    else watchJob(api, jobs[n % JOBS].id);
    // Connects in groups, not all within one millisecond: a listening socket queues 511.
    if (n % 50 === 49) await pause(50);
  }
  await until(() => opened === WATCHERS, 'the streams');
  const before = await used();
  const from = performance.now();
  for (let step = 1; step <= SECONDS; step++) {
    reportedAt.set(step, performance.now());
    worker.step(step);
    await pause(1_000);
  }
  const expected = SECONDS * (WATCHERS - Math.floor(WATCHERS / 10));
  await until(() => took.length >= expected, 'the last steps');
  const seconds = (performance.now() - from) / 1000;
  const after = await used();
  console.log(
    `${WATCHERS} watchers of ${JOBS} jobs on two API processes, ${took.length} steps delivered, ${wrong} lost or duplicated: ` +
      `p50 ${quantile(took, 0.5).toFixed(0)} ms, p95 ${quantile(took, 0.95).toFixed(0)} ms, p99 ${quantile(took, 0.99).toFixed(0)} ms`,
  );
  const share = (spent) => `${((100 * spent) / seconds).toFixed(0)} %`;
  console.log(
    `memory ${apis.map(({ child }) => `${rssMegabytes(child.pid).toFixed(0)} MB`).join(' and ')}; ` +
      `CPU ${apis.map((_, n) => share(after.api[n] - before.api[n])).join(' and ')}, Postgres ${share(after.postgres - before.postgres)}; ` +
      `${((after.transactions - before.transactions) / seconds).toFixed(0)} transactions/s`,
  );
  worker.end();
} finally {
  for (const { child } of apis) child.kill('SIGTERM');
  await Promise.all(apis.map(({ child }) => child.exitCode ?? once(child, 'exit')));
  await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
  await admin.end();
  rmSync(home, { recursive: true, force: true });
}
console.log(`load after: ${loadavg()[0].toFixed(2)}`);
process.exit(wrong === 0 ? 0 : 1);
