import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { EventEmitter } from 'node:events';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { newId } from '../ids.js';
import { log } from '../log.js';
import { PostgresChannel } from './postgres-channel.js';
import { RedisChannel } from './redis-channel.js';
import type { WakeChannel } from './wake-channel.js';

/** The kind of object that changed, and its id. */
export type Topic = `${'job' | 'project' | 'pool' | 'worker' | 'answers' | 'webhooks'}:${string}`;

/** Minimum time between two messages to the other processes. Changes in between are combined into one. */
const EVERY_MS = 50;
/** Maximum number of topics stored while the connection is lost. Watchers find further changes by polling. */
const MAX_PENDING = 10_000;
/** Maximum size of a message. PostgreSQL limits the payload of NOTIFY to less than 8,000 bytes. */
const MAX_BYTES = 7_900;

/**
 * Announces changes, after they are committed, in this and every other API process of the installation. A
 * wake-up carries no data: watchers read the tables, and also poll every few seconds, because a wake-up may
 * be lost.
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
      (message) => this.received(message),
      () => {
        // Wake all watchers: announcements may have been missed while the connection was lost.
        this.emitter.emit('all');
        if (this.pending.size > 0) this.plan();
      },
    );
  }

  /** Wakes the watchers of the topics when the current transaction commits, or immediately outside of one. */
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

  /** Calls `changed` whenever the topic may have changed, until the returned function is called. */
  watch(topic: Topic, changed: () => void): () => void {
    this.emitter.on(topic, changed);
    this.emitter.on('all', changed);
    return () => {
      this.emitter.off(topic, changed);
      this.emitter.off('all', changed);
    };
  }

  /** Whether this process can send messages to other processes and receive theirs. */
  get alive(): boolean {
    return this.channel.alive;
  }

  private received(message: string): void {
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
    // The other processes must still receive the last changes of this process.
    await this.sending;
    if (this.pending.size > 0) await this.send();
    await this.channel.close();
  }
}

/** Packs topics into as few messages as possible, each starting with the sender's name. */
export function messages(from: string, topics: readonly string[]): string[] {
  const messagesSoFar: string[] = [];
  let open = '';
  for (const topic of topics) {
    if (open !== '' && Buffer.byteLength(open) + 1 + Buffer.byteLength(topic) > MAX_BYTES) {
      messagesSoFar.push(open);
      open = '';
    }
    open = `${open === '' ? from : open} ${topic}`;
  }
  return open === '' ? messagesSoFar : [...messagesSoFar, open];
}
