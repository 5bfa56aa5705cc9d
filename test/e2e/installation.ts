// A whole Graft on this machine for one spec: one API process, and worker processes with a home folder each.
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, createReadStream, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import OpenAI from 'openai';
import type { JobObject, ModelObject } from '@graft/contracts';
import {
  dropDatabase,
  listens,
  migratedDatabase,
  POSTGRES,
  POSTGRES_PORT,
} from '../../apps/api/test/test-databases.js';
import { freePort } from '../servers.js';
import { writeChats, writeTinyBase } from '../tiny-base.js';

const API = fileURLToPath(new URL('../../apps/api/test/process.mjs', import.meta.url));
const WORKER = fileURLToPath(new URL('../../apps/worker/bundle/main.js', import.meta.url));

const READY = /^ready (.*)$/m;
/** Timeout of a start. The first start also creates a database. */
const START_MS = 150_000;

interface Where {
  readonly url: string;
  readonly grpcUrl: string;
  readonly apiKey: string;
  readonly joinToken: string;
}

/** Process and the end of its output, which error messages contain. */
export interface Program {
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  tail(): string;
}

export class Installation {
  readonly openai: OpenAI;
  private readonly programs: Program[] = [];

  private constructor(
    readonly dir: string,
    readonly where: Where,
    private readonly config: { readonly leaseMs: number },
    private api: Program,
    private readonly database: string | null,
  ) {
    this.programs.push(api);
    this.openai = new OpenAI({ baseURL: `${where.url}/v1`, apiKey: where.apiKey, maxRetries: 0 });
  }

  /**
   * Starts an API; `config` is an ApiConfig. Uses a database of this machine's PostgreSQL if it is available,
   * because an embedded server takes seconds to start.
   */
  static async start(config: object = {}, { embedded = false } = {}): Promise<Installation> {
    const dir = mkdtempSync(join(tmpdir(), 'graft-e2e-'));
    // If the tests run as root, the embedded PostgreSQL runs as another user, who must be able to enter this
    // folder.
    chmodSync(dir, 0o755);
    const home = join(dir, 'api');
    mkdirSync(home);
    const shared = !embedded && !('databaseUrl' in config) && (await listens(POSTGRES_PORT));
    const database = shared ? await migratedDatabase() : null;
    const whole = {
      home,
      leaseMs: 8000,
      reconcileMs: 500,
      retryBackoffMs: 200,
      ...(database === null ? {} : { databaseUrl: `${POSTGRES}/${database}` }),
      port: await freePort(),
      grpcPort: await freePort(),
      ...config,
    };
    const api = run([API, JSON.stringify(whole)]);
    try {
      const where = JSON.parse(await lineFrom(api, READY, START_MS)) as Where;
      return new Installation(dir, where, whole, api, database);
    } catch (error) {
      await end(api);
      await remove(dir, database);
      throw error;
    }
  }

  /**
   * Kills the API with SIGKILL and starts it again on the same ports. The lease is at least as long as in
   * production: workers reconnect within 10 s, and the tests' short lease would expire before.
   */
  async crashApi(downMs: number): Promise<void> {
    this.api.child.kill('SIGKILL');
    await this.api.exited;
    await new Promise((resolve) => setTimeout(resolve, downMs));
    const leaseMs = Math.max(15_000, this.config.leaseMs);
    this.api = run([API, JSON.stringify({ ...this.config, leaseMs })]);
    this.programs.unshift(this.api);
    await lineFrom(this.api, READY, START_MS);
  }

  /** Sends the API a signal: SIGSTOP freezes it with open connections, SIGCONT continues it. */
  signalApi(signal: NodeJS.Signals): void {
    this.api.child.kill(signal);
  }

  /** Starts a worker. Reuses the home folder if the name was used before, as after a crash. */
  startWorker(name: string, ...flags: string[]): Program {
    return this.startWorkerOf(WORKER, name, {}, ...flags);
  }

  /** Starts a worker from another script, with additional environment variables. */
  startWorkerOf(
    script: string,
    name: string,
    env: Record<string, string>,
    ...flags: string[]
  ): Program {
    const { grpcUrl, joinToken } = this.where;
    const worker = run(
      [
        script,
        '--url',
        `grpc://${grpcUrl}`,
        '--home',
        this.workerHome(name),
        '--name',
        name,
        '--threads',
        '1',
        ...flags,
      ],
      { ...env, GRAFT_WORKER_TOKEN: joinToken },
    );
    this.programs.push(worker);
    return worker;
  }

  trainerPids(name: string): number[] {
    return readdirSync(join(this.workerHome(name), 'trainers')).map((file) => parseInt(file, 10));
  }

  /** Imports the tiny base of a model family. */
  importTinyBase(id = 'tiny', family = 'llama'): Promise<void> {
    return this.importBase(id, writeTinyBase(join(this.dir, id), family));
  }

  async importBase(id: string, folder: string): Promise<void> {
    await this.openai.post('/models', { body: { id, source: `dir:${folder}` } });
    await until('the base to be ready', async () => {
      const { graft } = (await this.openai.get(`/models/${id}`)) as ModelObject;
      if (graft?.status === 'error') throw new Error(graft.status_details ?? 'import failed');
      return graft?.status === 'ready';
    });
  }

  /** Uploads `count` chats. Returns the file's id. */
  async uploadChats(count: number): Promise<string> {
    const path = writeChats(join(this.dir, `chats-${count}.jsonl`), count);
    const file = await this.openai.files.create({
      file: createReadStream(path),
      purpose: 'fine-tune',
    });
    return file.id;
  }

  async createJob(body: object): Promise<JobObject> {
    return (await this.openai.fineTuning.jobs.create(body as never)) as unknown as JobObject;
  }

  async job(id: string): Promise<JobObject> {
    return (await this.openai.fineTuning.jobs.retrieve(id)) as unknown as JobObject;
  }

  async succeeded(id: string, ms = 60_000): Promise<JobObject> {
    let job = await this.job(id);
    await until(
      `${id} to succeed`,
      async () => {
        job = await this.job(id);
        if (['failed', 'cancelled', 'paused'].includes(job.status))
          throw new Error(`${job.status}: ${JSON.stringify(job.error)}`);
        return job.status === 'succeeded';
      },
      ms,
    );
    return job;
  }

  /** Result files of a job by name. */
  async results(job: JobObject): Promise<Map<string, Buffer>> {
    const files = new Map<string, Buffer>();
    for (const id of job.result_files) {
      const { filename } = await this.openai.files.retrieve(id);
      files.set(filename, Buffer.from(await (await this.openai.files.content(id)).arrayBuffer()));
    }
    return files;
  }

  /** Last output of every program, for failed tests. */
  tails(): string {
    return this.programs.map((program) => program.tail()).join('\n---\n');
  }

  /** Stops the workers in parallel, then the API. */
  async stop(): Promise<void> {
    const workers = this.programs.splice(0).filter((program) => program !== this.api);
    await Promise.all(workers.map(end));
    await end(this.api);
    await remove(this.dir, this.database);
  }

  workerHome(name: string): string {
    return join(this.dir, `worker-${name}`);
  }
}

/**
 * Waits until `look` returns true; rejects if it throws. The interval grows up to 100 ms, because `look`
 * calls the API, which shares the CPU with the awaited work.
 */
export async function until(
  what: string,
  look: () => Promise<boolean> | boolean,
  ms = 30_000,
): Promise<void> {
  const begin = performance.now();
  while (!(await look())) {
    const waited = performance.now() - begin;
    if (waited > ms) throw new Error(`waited ${ms} ms in vain for ${what}`);
    const pause = Math.min(100, Math.max(25, waited / 20));
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

async function remove(dir: string, database: string | null): Promise<void> {
  if (database !== null) await dropDatabase(database);
  rmSync(dir, { recursive: true, force: true });
}

async function end({ child, exited }: Program): Promise<void> {
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), 20_000);
  await exited;
  clearTimeout(killer);
}

function run(args: readonly string[], env: Record<string, string> = {}): Program {
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (text: Buffer) => (output = (output + text.toString()).slice(-20_000)));
  const exited = new Promise<number | null>((resolve) =>
    child.once('exit', (code) => resolve(code)),
  );
  return { child, exited, tail: () => output };
}

async function lineFrom(program: Program, pattern: RegExp, ms: number): Promise<string> {
  let found: RegExpExecArray | null = null;
  await until(
    String(pattern),
    () => {
      if (program.child.exitCode !== null)
        throw new Error(`it ended with ${program.child.exitCode}: ${program.tail()}`);
      found = pattern.exec(program.tail());
      return found !== null;
    },
    ms,
  );
  return (found as RegExpExecArray | null)?.[1] ?? '';
}
