import { Redis } from 'ioredis';
import { log } from '../log.js';
import type { WakeChannel } from './wake-channel.js';

/** Publish and subscribe. The client connects again by itself, and each connection subscribes. */
export class RedisChannel implements WakeChannel {
  private readonly listening: Redis;
  private readonly speaking: Redis;
  private reported = false;
  private subscribed = false;

  constructor(
    url: string,
    private readonly channel: string,
  ) {
    const options = { lazyConnect: true, maxRetriesPerRequest: 1, enableOfflineQueue: false };
    // A connection that subscribes can do nothing else. ioredis would subscribe again by itself, but nobody could catch
    // its failure, and Node ends a process for that.
    this.listening = new Redis(url, { ...options, autoResubscribe: false });
    this.speaking = new Redis(url, options);
    for (const redis of [this.listening, this.speaking])
      redis.on('error', (error) => this.report(error));
  }

  async open(heard: (message: string) => void, up: () => void): Promise<void> {
    this.listening.on('message', (_channel, message) => heard(message));
    await Promise.all([this.listening.connect(), this.speaking.connect()]);
    await this.subscribe();
    this.listening.on('close', () => (this.subscribed = false));
    this.listening.on('ready', () => {
      this.subscribe().then(up, (error: Error) => {
        this.report(error);
        // A lost connection comes back by itself. One that stands but cannot subscribe hears nothing.
        if (this.listening.status === 'ready') this.listening.disconnect(true);
      });
    });
    // What could not be said while it was away is said now.
    this.speaking.on('ready', up);
    up();
  }

  private async subscribe(): Promise<void> {
    await this.listening.subscribe(this.channel);
    this.subscribed = true;
    this.reported = false;
  }

  async publish(messages: readonly string[]): Promise<void> {
    await Promise.all(messages.map((message) => this.speaking.publish(this.channel, message)));
  }

  get alive(): boolean {
    return this.subscribed && this.speaking.status === 'ready';
  }

  async close(): Promise<void> {
    // A connection that is being made still becomes ready.
    for (const redis of [this.listening, this.speaking]) redis.removeAllListeners('ready');
    this.listening.disconnect();
    this.speaking.disconnect();
  }

  /** A lost server repeats its error many times a second. */
  private report(error: Error): void {
    if (!this.reported) log.warn({ err: error }, 'lost a connection to Redis for wake-ups');
    this.reported = true;
  }
}
