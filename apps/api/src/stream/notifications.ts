import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { EventEmitter } from 'node:events';
import { Client } from 'pg';
import { Settings } from '../config.js';
import { JOB_CHANNEL } from '../events/history.js';
import { log } from '../log.js';

/** Says which job or project changed, in this and every other API process of the installation. */
@Injectable()
export class Notifications implements OnModuleDestroy {
  private readonly emitter = new EventEmitter().setMaxListeners(0);
  private client: Client | null = null;
  private closing = false;
  private retry: NodeJS.Timeout | null = null;

  constructor(private readonly settings: Settings) {}

  async start(): Promise<void> {
    const client = new Client({
      connectionString: this.settings.databaseUrl,
      application_name: 'graft-listen',
      keepAlive: true,
    });
    client.on('error', (error) => log.warn({ err: error }, 'lost the LISTEN connection'));
    client.on('end', () => this.again());
    client.on('notification', ({ payload }) => {
      const [job = '', project = ''] = (payload ?? '').split(' ');
      this.emitter.emit(job);
      this.emitter.emit(project, job);
    });
    await client.connect();
    await client.query(`LISTEN ${JOB_CHANNEL}`);
    this.client = client;
    // Whatever was announced while nobody listened: let every watcher look again.
    this.emitter.emit('wake');
  }

  private again(): void {
    if (this.closing || this.retry) return;
    this.client = null;
    this.retry = setTimeout(() => {
      this.retry = null;
      if (!this.closing) this.start().catch(() => this.again());
    }, 1000).unref();
  }

  /** Calls back on every change of a job or project until the returned function is called. */
  watch(id: string, changed: (jobId?: string) => void): () => void {
    this.emitter.on(id, changed);
    this.emitter.on('wake', changed);
    return () => {
      this.emitter.off(id, changed);
      this.emitter.off('wake', changed);
    };
  }

  get alive(): boolean {
    return this.client !== null;
  }

  async onModuleDestroy(): Promise<void> {
    this.closing = true;
    await this.client?.end().catch(() => undefined);
  }
}
