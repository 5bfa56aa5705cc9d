// Redis server of one test, which may empty, kill and restart it on the same port.
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { Redis } from 'ioredis';
import { listens, until } from '../../apps/api/test/fixture.js';
import { freePort } from '../servers.js';

/** Whether redis-server is installed. */
export const haveRedisServer = (process.env['PATH'] ?? '')
  .split(delimiter)
  .some((folder) => existsSync(join(folder, 'redis-server')));

export class RedisServer {
  private readonly dir = mkdtempSync(join(tmpdir(), 'graft-redis-'));
  private child: ChildProcess | null = null;

  private constructor(private readonly port: number) {}

  static async start(): Promise<RedisServer> {
    const server = new RedisServer(await freePort());
    await server.start();
    return server;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Starts the server with all data that was written before, or empty. */
  async start(how: { empty: boolean } = { empty: true }): Promise<void> {
    if (how.empty)
      for (const name of readdirSync(this.dir)) rmSync(join(this.dir, name), { recursive: true });
    const options = {
      port: this.port,
      bind: '127.0.0.1',
      dir: this.dir,
      save: '',
      appendonly: 'yes',
      appendfsync: 'always',
      'maxmemory-policy': 'noeviction',
    };
    const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
    this.child = spawn('redis-server', flags, { stdio: 'ignore' });
    await until(() => listens(this.port));
  }

  async kill(): Promise<void> {
    const { child } = this;
    this.child = null;
    if (!child) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  }

  async flushAll(): Promise<void> {
    await this.ask((redis) => redis.flushall());
  }

  /** Entries that were taken but never completed. Nothing would ever remove them. */
  async stuck(): Promise<string[]> {
    return this.ask(async (redis) => {
      const lists = await redis.keys('*:active');
      return (await Promise.all(lists.map((list) => redis.lrange(list, 0, -1)))).flat();
    });
  }

  private async ask<T>(question: (redis: Redis) => Promise<T>): Promise<T> {
    const redis = new Redis(this.url);
    return question(redis).finally(() => redis.disconnect());
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
