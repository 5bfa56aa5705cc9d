import { Client } from 'pg';
import { log } from '../log.js';
import type { WakeChannel } from './wake-channel.js';

const CHANNEL = 'graft_wake';
const RETRY_MS = 1_000;

/** Channel over LISTEN and NOTIFY, with its own connection. */
export class PostgresChannel implements WakeChannel {
  private client: Client | null = null;
  private closing = false;
  private retry: NodeJS.Timeout | null = null;

  constructor(private readonly databaseUrl: string) {}

  async open(received: (message: string) => void, up: () => void): Promise<void> {
    const again = (): void => {
      if (this.closing || this.retry) return;
      this.client = null;
      this.retry = setTimeout(() => {
        this.retry = null;
        if (!this.closing) this.open(received, up).catch(again);
      }, RETRY_MS).unref();
    };
    const client = new Client({
      connectionString: this.databaseUrl,
      application_name: 'graft-wake',
      keepAlive: true,
      query_timeout: 5_000,
    });
    client.on('error', (error) => log.warn({ err: error }, 'lost the LISTEN connection'));
    client.on('end', again);
    client.on('notification', ({ payload }) => received(payload ?? ''));
    await client.connect();
    // A NOTIFY holds a server-wide lock during its commit, so the commit must not wait for the disk.
    await client.query(`SET synchronous_commit = off`);
    await client.query(`LISTEN ${CHANNEL}`);
    this.client = client;
    up();
  }

  async publish(messages: readonly string[]): Promise<void> {
    if (!this.client) throw new Error('the LISTEN connection is lost');
    await this.client.query('SELECT pg_notify($1, message) FROM unnest($2::text[]) AS message', [
      CHANNEL,
      messages,
    ]);
  }

  get alive(): boolean {
    return this.client !== null;
  }

  async close(): Promise<void> {
    this.closing = true;
    await this.client?.end().catch(() => undefined);
  }
}
