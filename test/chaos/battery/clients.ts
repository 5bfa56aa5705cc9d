// Clients that create, pause, resume, cancel, chat and watch at either API process, and record the responses.
import { randomUUID } from 'node:crypto';
import { StreamClient } from '../../../apps/api/test/stream-client.js';
import { call, type Answer } from './call.js';
import type { Cluster } from './cluster.js';
import type { Watched } from './checker.js';
import type { Entry, History } from './history.js';
import type { Random } from './random.js';

const MOST_OPEN = 10;

/** Kind of job for which a control run without faults exists. */
export interface Control {
  readonly name: string;
  readonly body: object;
}

export class Clients {
  private readonly open = new Set<string>();
  private readonly watches: Watch[] = [];
  private stopped = false;
  private work: Promise<void> = Promise.resolve();

  constructor(
    private readonly cluster: Cluster,
    private readonly history: History,
    private readonly random: Random,
    private readonly controls: readonly Control[],
  ) {}

  start(): void {
    this.work = this.run();
  }

  /** Stops the load; watchers continue. */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.work;
  }

  /** Events that the watchers received. Waits until each watcher has the last event of its job. */
  async watched(last: (job: string) => number): Promise<Watched[]> {
    for (const watch of this.watches) await watch.until(last(watch.job));
    return this.watches.map(({ job, seen }) => ({ job, seen }));
  }

  call(method: string, path: string, body?: object, key?: string): Promise<Answer> {
    const request = { method, path, ...(body && { body }), ...(key !== undefined && { key }) };
    return call(this.cluster, this.random, request);
  }

  private async run(): Promise<void> {
    while (!this.stopped) {
      const draw = this.random.next();
      if (draw < 0.5) await this.create();
      else if (draw < 0.56) await this.change('cancel');
      else if (draw < 0.7) await this.change('pause');
      else if (draw < 0.86) await this.change('resume');
      else if (draw < 0.88) await this.storm();
      else await this.chat();
      for (const watch of this.watches) if (this.random.next() < 0.05) watch.drop();
      await new Promise((resolve) => setTimeout(resolve, this.random.between(200, 900)));
    }
  }

  private async create(): Promise<void> {
    await this.forget();
    if (this.open.size >= MOST_OPEN) return;
    const { name, body } = this.random.of(this.controls);
    const token = randomUUID();
    const tries = this.random.next() < 0.2 ? 1 : 6;
    for (let n = 0; n < tries; n++) {
      const made = await this.history.call('create', token, () =>
        this.call(
          'POST',
          '/fine_tuning/jobs',
          { ...body, metadata: { token, control: name } },
          token,
        ),
      );
      if (made?.id) {
        this.open.add(made.id);
        if (this.random.next() < 0.4)
          this.watches.push(new Watch(this.cluster, this.random, made.id));
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }

  private async forget(): Promise<void> {
    for (const id of this.open) {
      const job = await this.call('GET', `/fine_tuning/jobs/${id}`).catch(() => null);
      if (job && ['succeeded', 'failed', 'cancelled'].includes(job.status ?? ''))
        this.open.delete(id);
    }
  }

  private async change(what: 'cancel' | 'pause' | 'resume'): Promise<void> {
    if (this.open.size === 0) return;
    const id = this.random.of([...this.open]);
    await this.sendControl(what, id);
  }

  private sendControl(what: Entry['what'], id: string): Promise<Answer | null> {
    return this.history.call(what, id, () => this.call('POST', `/fine_tuning/jobs/${id}/${what}`));
  }

  /**
   * Sends forty concurrent requests, for one job and for one that does not exist: more than the API has
   * database connections.
   */
  private async storm(): Promise<void> {
    const [id] = this.open;
    const ids = Array.from({ length: 40 }, (_, n) => (n % 2 && id ? id : 'ftjob-not-there'));
    await Promise.all(ids.map((each) => this.sendControl('cancel', each)));
  }

  private async chat(): Promise<void> {
    await this.history.call('chat', 'tiny', () =>
      this.call('POST', '/chat/completions', {
        model: 'tiny',
        messages: [{ role: 'user', content: 'what is 1 plus 1?' }],
        max_completion_tokens: 8,
      }),
    );
  }
}

/**
 * Client of a job's event stream that reconnects to either API process with the last number that it received.
 */
class Watch {
  readonly seen: number[] = [];
  private client: StreamClient | null = null;
  private over = false;

  constructor(
    private readonly cluster: Cluster,
    private readonly random: Random,
    readonly job: string,
  ) {
    void this.run();
  }

  drop(): void {
    this.client?.leave();
  }

  async until(last: number): Promise<void> {
    const end = performance.now() + 30_000;
    while ((this.seen.at(-1) ?? 0) < last && performance.now() < end)
      await new Promise((resolve) => setTimeout(resolve, 50));
    this.over = true;
    this.drop();
  }

  private async run(): Promise<void> {
    while (!this.over) {
      const { url } = this.random.of(this.cluster.apis);
      const at = { url, headers: this.cluster.headers };
      const path = `/fine_tuning/jobs/${this.job}/stream`;
      const client = new StreamClient(at, path, String(this.seen.at(-1) ?? 0));
      this.client = client;
      const since = performance.now();
      let taken = 0;
      while (!client.ended && (client.status !== 0 || performance.now() - since < 3000)) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        for (const { id } of client.seen.slice(taken)) if (id !== null) this.seen.push(id);
        taken = client.seen.length;
      }
      for (const { id } of client.seen.slice(taken)) if (id !== null) this.seen.push(id);
      client.leave();
    }
  }
}
