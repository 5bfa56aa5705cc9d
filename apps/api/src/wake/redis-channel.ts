import { Redis } from 'ioredis';
import { log } from '../log.js';
import type { WakeChannel } from './wake-channel.js';

/** Publish and subscribe; the client itself connects again, and subscribes again. */
export class RedisChannel implements WakeChannel {
  private readonly listening: Redis;
  private readonly speaking: Redis;
  private reported = false;

  constructor(
    url: string,
    private readonly channel: string,
  ) {
    const options = { lazyConnect: true, maxRetriesPerRequest: 1, enableOfflineQueue: false };
    // A connection that subscribes can do nothing else.
    this.listening = new Redis(url, options);
    this.speaking = new Redis(url, options);
    for (const redis of [this.listening, this.speaking])
      redis.on('error', (error) => this.report(error));
  }

  async open(heard: (message: string) => void, up: () => void): Promise<void> {
    this.listening.on('message', (_channel, message) => heard(message));
    await Promise.all([this.listening.connect(), this.speaking.connect()]);
    await this.listening.subscribe(this.channel);
    this.listening.on('ready', () => {
      this.reported = false;
      up();
    });
    up();
  }

  async publish(messages: readonly string[]): Promise<void> {
    await Promise.all(messages.map((message) => this.speaking.publish(this.channel, message)));
  }

  get alive(): boolean {
    return this.listening.status === 'ready';
  }

  async close(): Promise<void> {
    this.listening.disconnect();
    this.speaking.disconnect();
  }

  /** A lost server repeats its error many times a second. */
  private report(error: Error): void {
    if (!this.reported) log.warn({ err: error }, 'lost a connection to Redis for wake-ups');
    this.reported = true;
  }
}
