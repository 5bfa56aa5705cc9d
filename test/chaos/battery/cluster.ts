// Two API processes on one database, training workers, a queue, and a proxy on every connection between them.
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import {
  startEmbeddedPostgres,
  type EmbeddedPostgres,
} from '../../../apps/api/src/database/embedded-postgres.js';
import { until } from '../../e2e/installation.js';
import { freePort } from '../../servers.js';
import { haveRedisServer, RedisServer } from '../redis-server.js';
import { FaultyProxy } from './faulty-proxy.js';
import { compileShim, Preload } from './preload.js';
import { Program } from './program.js';

const API = fileURLToPath(new URL('../../../apps/api/test/process.mjs', import.meta.url));
const WORKER = fileURLToPath(new URL('../../../apps/worker/bundle/main.js', import.meta.url));
const READY = /^ready (.*)$/m;

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

interface Where {
  readonly url: string;
  readonly grpcUrl: string;
  readonly apiKey: string;
  readonly joinToken: string;
}

export interface ApiProcess {
  readonly program: Program;
  readonly url: string;
  readonly grpcPort: number;
  /** Proxies to its database and its queue. */
  readonly database: FaultyProxy;
  readonly queue: FaultyProxy | null;
  readonly preload: Preload;
}

export interface WorkerProcess {
  readonly program: Program;
  readonly home: string;
  /** Proxies to the API processes. */
  readonly lines: readonly FaultyProxy[];
  readonly preload: Preload;
}

export interface Size {
  readonly workers: number;
  readonly leaseMs: number;
}

export class Cluster {
  readonly dir = mkdtempSync(join(tmpdir(), 'graft-battery-'));
  readonly blobs = join(this.dir, 'blobs');
  readonly apis: ApiProcess[] = [];
  readonly workers: WorkerProcess[] = [];
  redis: RedisServer | null = null;
  private readonly shim = compileShim(this.dir);
  private crash: Promise<void> | null = null;
  private postgres!: EmbeddedPostgres;
  private pool!: pg.Pool;
  private where!: Where;
  private closing: (() => unknown)[] = [];

  private constructor(readonly leaseMs: number) {}

  /** @param settings for the API processes, in addition to those of every battery */
  static async start({ workers, leaseMs }: Size, settings: object = {}): Promise<Cluster> {
    const cluster = new Cluster(leaseMs);
    // If the tests run as root, the embedded PostgreSQL runs as another user, who must be able to enter this
    // folder.
    chmodSync(cluster.dir, 0o755);
    cluster.postgres = await startEmbeddedPostgres(join(cluster.dir, 'database'));
    cluster.pool = new pg.Pool({ connectionString: cluster.postgres.url, max: 4 });
    cluster.pool.on('error', () => undefined);
    if (haveRedisServer) cluster.redis = await RedisServer.start();
    for (const name of ['api-a', 'api-b'])
      cluster.apis.push(await cluster.api(name, { leaseMs, ...settings }));
    for (let n = 1; n <= workers; n++) cluster.workers.push(await cluster.worker(`worker-${n}`));
    return cluster;
  }

  get headers(): Record<string, string> {
    return { authorization: `Bearer ${this.where.apiKey}` };
  }

  async query<Row>(sql: string, values: unknown[] = []): Promise<Row[]> {
    return (await this.pool.query(sql, values)).rows as Row[];
  }

  get programs(): Program[] {
    return [...this.apis, ...this.workers].map(({ program }) => program);
  }

  trainerPids({ home }: WorkerProcess): number[] {
    try {
      return readdirSync(join(home, 'trainers')).map((file) => parseInt(file, 10));
    } catch {
      return [];
    }
  }

  /**
   * Stops the database server immediately, without closing connections, and waits until it has been
   * restarted.
   */
  crashPostgres(): Promise<void> {
    this.crash ??= this.crashNow().finally(() => (this.crash = null));
    return this.crash;
  }

  /** Stops the workers, then the API. The database and the folders remain for the checks. */
  async quiesce(): Promise<void> {
    await Promise.all(this.workers.map(({ program }) => program.stop()));
    await Promise.all(this.apis.map(({ program }) => program.stop()));
  }

  async remove(): Promise<void> {
    await this.quiesce();
    for (const close of this.closing) close();
    await this.redis?.remove();
    await this.pool.end();
    await this.postgres.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  private async crashNow(): Promise<void> {
    const file = join(this.dir, 'database', 'postgres', 'data', 'postmaster.pid');
    const pid = parseInt(readFileSync(file, 'utf8'), 10);
    process.kill(pid, 'SIGQUIT');
    await until('PostgreSQL to end', () => !isAlive(pid), 60_000);
    const answers = (): Promise<boolean> =>
      this.query('SELECT 1').then(
        () => true,
        () => false,
      );
    await until('PostgreSQL to come back', answers, 60_000);
  }

  private async proxy(port: number): Promise<FaultyProxy> {
    const proxy = await FaultyProxy.to(port);
    this.closing.push(() => proxy.close());
    return proxy;
  }

  private preload(name: string): Preload {
    mkdirSync(join(this.dir, name), { recursive: true });
    return new Preload(join(this.dir, name), this.shim);
  }

  private async api(name: string, settings: object): Promise<ApiProcess> {
    const url = new URL(this.postgres.url);
    const database = await this.proxy(Number(url.port));
    url.port = String(database.port);
    const queue = this.redis ? await this.proxy(Number(new URL(this.redis.url).port)) : null;
    const config = {
      home: join(this.dir, 'home'),
      blobs: this.blobs,
      databaseUrl: url.href,
      ...(queue ? { queueUrl: `redis://127.0.0.1:${queue.port}` } : {}),
      queuePrefix: 'battery',
      reconcileMs: 1000,
      retryBackoffMs: 200,
      retentionMs: 20_000,
      minRunSeconds: 5,
      requestsPerMinute: 0,
      port: await freePort(),
      grpcPort: await freePort(),
      ...settings,
    };
    const preload = this.preload(name);
    const program = new Program(
      name,
      () => [API, JSON.stringify(config)],
      preload.env,
      join(this.dir, `${name}.log`),
    );
    program.start();
    await until(`${name} to be ready`, () => READY.test(program.text), 90_000);
    const where = JSON.parse(READY.exec(program.text)?.[1] ?? '') as Where;
    this.where ??= where;
    return { program, url: where.url, grpcPort: config.grpcPort, database, queue, preload };
  }

  private async worker(name: string): Promise<WorkerProcess> {
    const home = join(this.dir, name);
    const lines = [];
    for (const { grpcPort } of this.apis) lines.push(await this.proxy(grpcPort));
    const addresses = lines.map(({ port }) => `127.0.0.1:${port}`).join(',');
    const preload = this.preload(name);
    const flags = ['--home', home, '--name', name, '--threads', '1', '--slots', '2'];
    const program = new Program(
      name,
      () => [WORKER, '--url', `grpc://${addresses}`, ...flags],
      { ...preload.env, GRAFT_WORKER_TOKEN: this.where.joinToken },
      join(this.dir, `${name}.log`),
    );
    program.start();
    return { program, home, lines, preload };
  }
}
