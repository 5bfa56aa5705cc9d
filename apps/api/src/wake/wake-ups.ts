import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { EventEmitter } from 'node:events';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { newId } from '../ids.js';
import { log } from '../log.js';
import { PostgresChannel } from './postgres-channel.js';
import { RedisChannel } from './redis-channel.js';
import type { WakeChannel } from './wake-channel.js';

/** What changed. */
export type Topic = `${'job' | 'project' | 'pool' | 'worker' | 'answers' | 'webhooks'}:${string}`;

/** Between two messages to the other processes: what changes meanwhile travels together. */
const EVERY_MS = 50;
/** Topics that wait for a lost connection; what is beyond is found by those who look again anyway. */
const MAX_PENDING = 10_000;
/** PostgreSQL takes less than 8,000 bytes. */
const MAX_BYTES = 7_900;

/**
 * Says what changed, after it is committed, in this and every other API process of the installation. It only wakes:
 * whoever waits reads the tables, and looks again every few seconds in any case, for a wake-up may be lost.
 */
@Injectable()
export class WakeUps implements OnModuleDestroy {
  private readonly emitter = new EventEmitter().setMaxListeners(0);
  private readonly self = newId('api-');
  private readonly channel: WakeChannel;
  private pending = new Set<Topic>();
  private timer: NodeJS.Timeout | null = null;
  private sending: Promise<void> = Promise.resolve();
  private sentAt = -EVERY_MS;

  constructor(
    private readonly database: Database,
    { databaseUrl, queueUrl, queuePrefix }: Settings,
  ) {
    this.channel = queueUrl
      ? new RedisChannel(queueUrl, `${queuePrefix}:wake`)
      : new PostgresChannel(databaseUrl);
  }

  async start(): Promise<void> {
    await this.channel.open(
      (message) => this.heard(message),
      () => {
        // Whatever was said while nobody listened: let everybody look again.
        this.emitter.emit('all');
        if (this.pending.size > 0) this.plan();
      },
    );
  }

  /** Wakes who waits for the topics once the transaction that the caller is in is committed; outside of one, now. */
  announce(...topics: readonly Topic[]): void {
    this.database.afterCommit(() => {
      for (const topic of topics) this.emitter.emit(topic);
      this.keep(topics);
      this.plan();
    });
  }

  private keep(topics: readonly Topic[]): void {
    for (const topic of topics) if (this.pending.size < MAX_PENDING) this.pending.add(topic);
  }

  /** Calls back whenever the topic may have changed, until the returned function is called. */
  watch(topic: Topic, changed: () => void): () => void {
    this.emitter.on(topic, changed);
    this.emitter.on('all', changed);
    return () => {
      this.emitter.off(topic, changed);
      this.emitter.off('all', changed);
    };
  }

  /** Whether this process hears the others, and they it. */
  get alive(): boolean {
    return this.channel.alive;
  }

  private heard(message: string): void {
    const [from, ...topics] = message.split(' ');
    if (from !== this.self) for (const topic of topics) this.emitter.emit(topic);
  }

  private plan(): void {
    const wait = Math.max(0, this.sentAt + EVERY_MS - performance.now());
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.sending = this.send();
    }, wait);
  }

  private async send(): Promise<void> {
    const topics = [...this.pending];
    this.pending = new Set();
    this.sentAt = performance.now();
    try {
      await this.channel.publish(messages(this.self, topics));
    } catch (error) {
      this.keep(topics);
      log.warn(
        { err: error, topics: topics.length },
        'could not notify the other API processes; retrying later',
      );
    }
  }

  async onModuleDestroy(): Promise<void> {
    if (this.timer) clearTimeout(this.timer);
    // The last changes of this process are news to the others.
    await this.sending;
    if (this.pending.size > 0) await this.send();
    await this.channel.close();
  }
}

/** As few messages as hold all topics, each after the sender's name. */
export function messages(from: string, topics: readonly string[]): string[] {
  const made: string[] = [];
  let open = '';
  for (const topic of topics) {
    if (open !== '' && Buffer.byteLength(open) + 1 + Buffer.byteLength(topic) > MAX_BYTES) {
      made.push(open);
      open = '';
    }
    open = `${open === '' ? from : open} ${topic}`;
  }
  return open === '' ? made : [...made, open];
}
