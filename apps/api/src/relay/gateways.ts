import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Client, type QueryResultRow } from 'pg';
import { Settings } from '../config.js';
import { newId } from '../ids.js';
import { log } from '../log.js';

const BEAT_MS = 2_000;
/** A process that is silent for longer counts as dead. Its workers get nothing until they reconnect. */
export const DEAD_AFTER_MS = 3 * BEAT_MS;
const RETRY_MS = 500;

/** API process, as other processes see it. */
export interface Gateway {
  readonly id: string;
  readonly address: string;
  readonly certificate: string | null;
}

/**
 * API processes of the installation. Each keeps one database connection, on which it reports every two
 * seconds that it is alive. What it holds through that connection (pools that it leads) is released when the
 * connection ends. PostgreSQL ends the connection of a silent process, so a process that hangs or whose host
 * is lost releases it like one that died.
 */
@Injectable()
export class Gateways implements OnModuleDestroy {
  readonly id = newId('gateway-');
  private peers = new Map<string, Gateway>();
  private own: Omit<Gateway, 'id'> | null = null;
  private client: Client | null = null;
  private nextBeat: NodeJS.Timeout | null = null;
  private retry: NodeJS.Timeout | null = null;
  private last: Promise<unknown> = Promise.resolve();
  private closing = false;
  private lostListeners: (() => void)[] = [];

  constructor(private readonly settings: Settings) {}

  /** Registers this process. From then on, others reach it at `address`. */
  async start(own: Omit<Gateway, 'id'>): Promise<void> {
    this.own = own;
    await this.open();
  }

  /** Calls back when the connection ends, and with it everything that was held through it. */
  onLost(listener: () => void): void {
    this.lostListeners.push(listener);
  }

  /** Runs a statement on this process's own connection, one at a time. An error closes the connection. */
  query<Row extends QueryResultRow>(sql: string, parameters: unknown[] = []): Promise<Row[]> {
    const answer = this.last.then(() => this.ask<Row>(sql, parameters));
    this.last = answer.catch(() => undefined);
    return answer;
  }

  private async ask<Row extends QueryResultRow>(sql: string, parameters: unknown[]) {
    const { client } = this;
    if (!client) throw new Error('the database connection of this API process is lost');
    try {
      return (await client.query<Row>(sql, parameters)).rows;
    } catch (error) {
      this.drop(client);
      throw error;
    }
  }

  /** Returns the process with this ID; null if it is not alive. */
  async find(id: string): Promise<Gateway | null> {
    // The last beat's result does not contain a process that has just started.
    if (!this.peers.has(id)) await this.beat();
    return this.peers.get(id) ?? null;
  }

  /** IDs of processes that are alive. */
  get living(): ReadonlySet<string> {
    return new Set(this.peers.keys());
  }

  private async open(): Promise<void> {
    const client = new Client({
      connectionString: this.settings.databaseUrl,
      application_name: `graft-${this.id}`,
      connectionTimeoutMillis: DEAD_AFTER_MS,
      query_timeout: DEAD_AFTER_MS,
      keepAlive: true,
    });
    client.on('error', () => this.drop(client));
    client.on('end', () => this.drop(client));
    await client.connect();
    this.client = client;
    await this.query(`SELECT set_config('idle_session_timeout', $1, false)`, [`${DEAD_AFTER_MS}`]);
    await this.beat();
  }

  private async beat(): Promise<void> {
    this.rest();
    this.nextBeat = setTimeout(() => void this.beat().catch(() => undefined), BEAT_MS);
    const { own } = this;
    if (!own) return;
    const rows = await this.query<Gateway>(
      `WITH own AS (
         INSERT INTO gateway (id, address, certificate) VALUES ($1, $2, $3)
         ON CONFLICT (id) DO UPDATE SET last_seen_at = clock_timestamp()
       ), gone AS (
         DELETE FROM gateway WHERE last_seen_at < clock_timestamp() - interval '1 hour' AND id <> $1
       )
       SELECT id, address, certificate FROM gateway
       WHERE id <> $1 AND last_seen_at > clock_timestamp() - $4 * interval '1 millisecond'`,
      [this.id, own.address, own.certificate, DEAD_AFTER_MS],
    );
    this.peers = new Map(rows.map((row) => [row.id, row]));
  }

  private drop(client: Client): void {
    if (this.client !== client) return;
    this.client = null;
    this.rest();
    // Runs even if the server does not respond.
    void client.end().catch(() => undefined);
    for (const listener of this.lostListeners) listener();
    if (this.closing) return;
    log.warn('lost the database connection of this API process; reconnecting');
    this.again();
  }

  private again(): void {
    this.retry ??= setTimeout(() => {
      this.retry = null;
      if (!this.closing) this.open().catch(() => this.again());
    }, RETRY_MS);
  }

  private rest(): void {
    if (this.nextBeat) clearTimeout(this.nextBeat);
  }

  /** Unregisters this process, so that others need not wait until it counts as dead. */
  async onModuleDestroy(): Promise<void> {
    this.closing = true;
    this.rest();
    if (this.retry) clearTimeout(this.retry);
    const { client } = this;
    if (!client) return;
    await this.query('DELETE FROM gateway WHERE id = $1', [this.id]).catch(() => undefined);
    this.drop(client);
  }
}
