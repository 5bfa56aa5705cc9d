#!/usr/bin/env node
// The control plane at its required sizes: a real API process (apps/api/test/process.mjs) on a real PostgreSQL with
// durable commits, clients in this process, and scripted workers in another (load-workers.mjs):
//   node test/bench/load.mjs [--part submit|queue|metrics]… [--database postgres://postgres@127.0.0.1:5432] [--seconds 20]
//     submit:  durable submissions per second of --clients 32, each sending one after another
//     queue:   10,000 queued jobs (--queued), 500 workers with heartbeats (--workers), 1,000 running jobs (--running):
//              latency of 20 submissions per second and of heartbeats; memory; leases that expired wrongly
//     metrics: stored metric points, from 8 workers (--streams) with 4 jobs each that send batches of --batch 100 steps
//              as fast as they are acknowledged; a step has 8 values
// --database: a server on which it may create and drop a database. Each figure is printed with the CPU seconds of the
// API and of PostgreSQL (Linux, same machine), which are valid on a busy machine too. The exit code is 1 if a lease or
// an event was lost, not if the machine is slow. --cpu-prof FOLDER: a profile of the API, for one part.
import { fork, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { importTinyBase } from './tiny-base.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const API = join(HERE, '../../apps/api/test/process.mjs');
const WORKERS = join(HERE, 'load-workers.mjs');
const TICKS_PER_SECOND = 100;
/** Requests before the measurement starts, to open connections, compile code and fill caches. */
const WARM_UP = 100;
const A_SECOND = 20;
const JOBS_A_STREAM = 4;
const NUMBERS_A_STEP = 8;
/** Number of projects that the queued jobs are spread over: one project may have 10,000. */
const PROJECTS = 10;
/** A pool without workers: its jobs stay queued. */
const IDLE_POOL = 'idle';

const { values: options } = parseArgs({
  options: {
    part: { type: 'string', multiple: true, default: ['submit', 'queue', 'metrics'] },
    database: { type: 'string', default: 'postgres://postgres@127.0.0.1:5432' },
    seconds: { type: 'string', default: '20' },
    clients: { type: 'string', default: '32' },
    queued: { type: 'string', default: '10000' },
    workers: { type: 'string', default: '500' },
    running: { type: 'string', default: '1000' },
    streams: { type: 'string', default: '8' },
    batch: { type: 'string', default: '100' },
    'cpu-prof': { type: 'string' },
  },
});
const number = (name) => Number(options[name]);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const quantile = (values, q) =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ??
  NaN;
const times = (took) =>
  `p50 ${quantile(took, 0.5).toFixed(0)} ms, p99 ${quantile(took, 0.99).toFixed(0)} ms`;

/** CPU seconds of a process in user and system mode; 0 when it has exited. */
function cpuSeconds(pid) {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(/\) /)[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  } catch {
    return 0;
  }
}

async function until(holds, what) {
  for (const end = Date.now() + 300_000; !(await holds()); await pause(100))
    if (Date.now() > end) throw new Error(`waited too long for ${what}`);
}

class Installation {
  static async start() {
    const self = new Installation();
    self.home = mkdtempSync(join(tmpdir(), 'graft-bench-load-'));
    self.name = `graft_bench_${randomUUID().slice(0, 8)}`;
    self.admin = new pg.Client({ connectionString: `${options.database}/postgres` });
    await self.admin.connect();
    await self.admin.query(`CREATE DATABASE ${self.name}`);
    self.database = new pg.Client({ connectionString: `${options.database}/${self.name}` });
    await self.database.connect();
    const config = {
      home: self.home,
      databaseUrl: `${options.database}/${self.name}`,
      queuePrefix: self.name,
      requestsPerMinute: 0,
    };
    const profile = options['cpu-prof'];
    if (profile) mkdirSync(profile, { recursive: true });
    const flags = profile ? ['--cpu-prof', `--cpu-prof-dir=${resolve(profile)}`] : [];
    const log = join(self.home, 'api.log');
    self.child = spawn(process.execPath, [...flags, API, JSON.stringify(config)], {
      stdio: ['ignore', 'pipe', openSync(log, 'a')],
    });
    const [line] = await Promise.race([
      once(self.child.stdout, 'data'),
      once(self.child, 'exit').then(() => {
        throw new Error(`the API exited:\n${readFileSync(log, 'utf8').slice(-2000)}`);
      }),
    ]);
    Object.assign(self, JSON.parse(String(line).replace(/^ready /, '')));
    self.agent = new Agent({ keepAlive: true, maxSockets: number('clients') });
    await importTinyBase(join(self.home, 'tiny'), (...args) => self.call(...args));
    self.file = await self.upload();
    return self;
  }

  async stop() {
    this.agent?.destroy();
    const exited = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    await exited;
    await this.database.end();
    await this.admin.query(`DROP DATABASE ${this.name} WITH (FORCE)`);
    await this.admin.end();
    rmSync(this.home, { recursive: true, force: true });
  }

  /** The durability settings of the server: figures without durable commits would be meaningless. */
  async durability() {
    const { rows } = await this.database.query(
      `SELECT name || ' ' || setting AS setting FROM pg_settings
       WHERE name IN ('fsync', 'full_page_writes', 'server_version', 'synchronous_commit') ORDER BY name`,
    );
    return rows.map(({ setting }) => setting).join(', ');
  }

  async row(sql) {
    return (await this.database.query(sql)).rows[0];
  }

  /** CPU seconds of all server processes for this database, without those that ended meanwhile. */
  async cpu() {
    const { rows } = await this.database.query(
      'SELECT pid FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()',
      [this.name],
    );
    return {
      at: performance.now(),
      api: cpuSeconds(this.child.pid),
      postgres: new Map(rows.map(({ pid }) => [pid, cpuSeconds(pid)])),
    };
  }

  async spent(before) {
    const now = await this.cpu();
    const seconds = (now.at - before.at) / 1000;
    const postgres = [...now.postgres].reduce(
      (sum, [pid, spent]) => sum + spent - (before.postgres.get(pid) ?? 0),
      0,
    );
    const share = (spent) => `${spent.toFixed(1)} s (${((100 * spent) / seconds).toFixed(0)} %)`;
    return `CPU in ${seconds.toFixed(0)} s: API ${share(now.api - before.api)}, PostgreSQL ${share(postgres)}`;
  }

  memory(what) {
    const status = readFileSync(`/proc/${this.child.pid}/status`, 'utf8');
    return Number(new RegExp(`${what}:\\s+(\\d+)`).exec(status)[1]) / 1024;
  }

  call(method, path, body, type = 'application/json') {
    return new Promise((fulfil, reject) => {
      const headers = { 'content-type': type, authorization: `Bearer ${this.apiKey}` };
      const outgoing = request(
        `${this.url}/v1${path}`,
        { method, agent: this.agent, headers },
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
      // The server closed the idle connection before it read the request.
      outgoing.on('error', (error) =>
        error.code === 'ECONNRESET' && outgoing.reusedSocket
          ? fulfil(this.call(method, path, body, type))
          : reject(error),
      );
      outgoing.end(typeof body === 'object' ? JSON.stringify(body) : body);
    });
  }

  upload() {
    const boundary = 'graft-bench';
    const part = (about) => `--${boundary}\r\ncontent-disposition: form-data; ${about}\r\n\r\n`;
    return this.call(
      'POST',
      '/files',
      `${part('name="purpose"')}fine-tune\r\n${part('name="file"; filename="a.jsonl"')}` +
        `${'{"prompt":"a","completion":"b"}\n'.repeat(12)}\r\n--${boundary}--\r\n`,
      `multipart/form-data; boundary=${boundary}`,
    );
  }

  submit(seed, pool) {
    return this.call('POST', '/fine_tuning/jobs', {
      model: 'tiny',
      training_file: this.file.id,
      seed,
      graft: { pool, max_steps: 1_000_000 },
    });
  }
}

/** The scripted workers in a separate process: `ask` calls the function of that name there. */
class Workers {
  constructor({ grpcUrl, joinToken }) {
    this.child = fork(WORKERS, [grpcUrl, joinToken]);
    this.exited = once(this.child, 'exit');
    this.child.on('message', (message) => this.settle(message));
    void this.exited.then(() => this.settle?.({ error: 'the workers exited' }));
  }

  async ask(what, about = {}) {
    const reply = new Promise((fulfil) => (this.settle = fulfil));
    this.child.send({ what, about });
    const { error, answer } = await reply;
    if (error) throw new Error(error);
    return answer;
  }

  async end() {
    if (this.child.connected) this.child.disconnect();
    await this.exited;
  }
}

async function submit(graft) {
  const clients = number('clients');
  const took = [];
  let sent = 0;
  const send = async (more) => {
    while (more()) {
      const from = performance.now();
      await graft.submit(sent++, IDLE_POOL);
      took.push(performance.now() - from);
    }
  };
  const all = (more) => Promise.all(Array.from({ length: clients }, () => send(more)));
  await all(() => sent < WARM_UP);
  took.length = 0;
  const before = await graft.cpu();
  await all(() => performance.now() - before.at < 1000 * number('seconds'));
  const each = took.length / ((performance.now() - before.at) / 1000);
  console.log(
    `submit   ${each.toFixed(0)} durable submissions/s of ${clients} clients, ${times(took)}; ${await graft.spent(before)}`,
  );
  const { count } = await graft.row(`SELECT count(*)::int FROM job WHERE pool = '${IDLE_POOL}'`);
  if (count !== sent) throw new Error(`${sent} submissions answered, ${count} jobs in the table`);
}

/**
 * Copies of a queued job in PROJECTS projects, which differ in id, time and project; faster than as many
 * requests.
 */
async function fill(graft, jobs) {
  const { id } = await graft.submit(0, 'default');
  const projects = [];
  for (let n = 0; n < PROJECTS; n++)
    projects.push((await graft.call('POST', '/organization/projects', { name: `bench-${n}` })).id);
  const { rows } = await graft.database.query(
    `SELECT quote_ident(column_name) AS name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = 'job'`,
  );
  const names = rows.map(({ name }) => name);
  const made = {
    id: `'ftjob-' || lpad(n::text, 24, '0')`,
    project_id: `($3::text[])[1 + n % ${PROJECTS}]`,
    created_at: `created_at + n * interval '1 millisecond'`,
    queued_at: `queued_at + n * interval '1 millisecond'`,
  };
  await graft.database.query(
    `INSERT INTO public.job (${names.join()}) SELECT ${names.map((name) => made[name] ?? name).join()}
     FROM (SELECT * FROM job WHERE id = $1) AS one, generate_series(2, $2::int) AS n`,
    [id, jobs, projects],
  );
  await graft.database.query('ANALYZE job');
}

async function queue(graft) {
  const running = number('running');
  await fill(graft, number('queued') + running);
  const workers = new Workers(graft);
  try {
    const joining = performance.now();
    await workers.ask('join', {
      workers: number('workers'),
      slots: Math.ceil(running / number('workers')),
    });
    const joined = performance.now();
    await until(async () => (await workers.ask('state')).leases >= running, 'the assignments');
    const given = (performance.now() - joined) / 1000;
    console.log(
      `queue    ${options.workers} workers joined in ${((joined - joining) / 1000).toFixed(1)} s and got ${running} jobs in another ${given.toFixed(1)} s`,
    );
    await workers.ask('state', { forget: true });
    const before = await graft.cpu();
    const count = A_SECOND * number('seconds');
    const took = [];
    const sent = [];
    for (let n = 0; n < count; n++) {
      // Sends on schedule even if the previous request is not answered: slow responses must not reduce the
      // load.
      await pause(Math.max(0, before.at + (1000 / A_SECOND) * n - performance.now()));
      const from = performance.now();
      const answered = graft.submit(n, 'default').then(() => took.push(performance.now() - from));
      // The error is reported by Promise.all at the end.
      answered.catch(() => undefined);
      sent.push(answered);
    }
    await Promise.all(sent);
    const spent = await graft.spent(before);
    const state = await workers.ask('state');
    const now = await graft.row(
      `SELECT (SELECT count(*)::int FROM job WHERE state = 'queued') AS queued,
         (SELECT count(*)::int FROM job WHERE state = 'running' AND lease_until > clock_timestamp()) AS running,
         (SELECT count(*)::int FROM attempt WHERE ended_at IS NOT NULL) AS ended`,
    );
    console.log(
      `         ${now.queued} queued, ${now.running} running, ${state.connected} workers\n` +
        `         submit ${times(took)} at ${A_SECOND}/s; heartbeat ${times(state.beats)} of ${state.beats.length}; ` +
        `leases expired wrongly: ${now.ended + state.lost}\n` +
        `         API memory ${graft.memory('VmRSS').toFixed(0)} MB, at most ${graft.memory('VmHWM').toFixed(0)} MB; ${spent}`,
    );
    if (state.ended.length > 0)
      console.log(`         streams ended: ${[...new Set(state.ended)].join('; ')}`);
    if (now.ended + state.lost > 0 || state.connected < number('workers')) process.exitCode = 1;
  } finally {
    await workers.end();
  }
}

async function metrics(graft) {
  const streams = number('streams');
  const jobs = streams * JOBS_A_STREAM;
  for (let n = 0; n < jobs; n++) await graft.submit(n, 'metrics');
  const workers = new Workers(graft);
  try {
    await workers.ask('join', { workers: streams, slots: JOBS_A_STREAM, pool: 'metrics' });
    await until(async () => (await workers.ask('state')).leases === jobs, 'the assignments');
    await workers.ask('report', { batch: number('batch'), ms: 2_000 });
    const stored = 'SELECT count(*)::int AS steps FROM metric';
    const { steps: had } = await graft.row(stored);
    const before = await graft.cpu();
    const { steps, acks } = await workers.ask('report', {
      batch: number('batch'),
      ms: 1000 * number('seconds'),
    });
    const seconds = (performance.now() - before.at) / 1000;
    const spent = await graft.spent(before);
    const points = (steps * NUMBERS_A_STEP) / seconds;
    console.log(
      `metrics  ${points.toFixed(0)} points/s (${(steps / seconds).toFixed(0)} steps of ${NUMBERS_A_STEP}) of ${jobs} jobs on ${streams} streams, ` +
        `batches of ${options.batch}, ack ${times(acks)}; ${spent}`,
    );
    const missing = had + steps - (await graft.row(stored)).steps;
    if (missing !== 0) throw new Error(`${missing} acknowledged steps are not stored`);
  } finally {
    await workers.end();
  }
}

const PARTS = { submit, queue, metrics };
for (const part of options.part) {
  if (!PARTS[part])
    throw new Error(`--part: expected ${Object.keys(PARTS).join(', ')}, got ${part}`);
  const graft = await Installation.start();
  try {
    console.log(
      `load before ${part}: ${loadavg()[0].toFixed(2)} on ${cpus().length} cores; ${await graft.durability()}`,
    );
    await PARTS[part](graft);
  } finally {
    await graft.stop();
  }
}
console.log(`load after: ${loadavg()[0].toFixed(2)}`);
