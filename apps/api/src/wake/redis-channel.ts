import { Redis } from 'ioredis';
import { log } from '../log.js';
import type { WakeChannel } from './wake-channel.js';

/**
 * Channel over publish and subscribe in Redis. The client reconnects automatically, and each new connection
 * subscribes.
 */
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
    // A subscribed connection cannot run other commands. Automatic resubscription is off because its failure
    // could not be caught, and an unhandled rejection would end the process.
    this.listening = new Redis(url, { ...options, autoResubscribe: false });
    this.speaking = new Redis(url, options);
    for (const redis of [this.listening, this.speaking])
      redis.on('error', (error) => this.report(error));
  }

  async open(received: (message: string) => void, up: () => void): Promise<void> {
    this.listening.on('message', (_channel, message) => received(message));
    await Promise.all([this.listening.connect(), this.speaking.connect()]);
    await this.subscribe();
    this.listening.on('close', () => (this.subscribed = false));
    this.listening.on('ready', () => {
      this.subscribe().then(up, (error: Error) => {
        this.report(error);
        // A lost connection reconnects automatically. An open connection that could not subscribe has to be
        // replaced.
        if (this.listening.status === 'ready') this.listening.disconnect(true);
      });
    });
    // Publish the messages that could not be sent while the connection was lost.
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
    // A connection that is being opened may still become ready.
    for (const redis of [this.listening, this.speaking]) redis.removeAllListeners('ready');
    this.listening.disconnect();
    this.speaking.disconnect();
  }

  /** Logs an error once: a lost server repeats it many times per second. */
  private report(error: Error): void {
    if (!this.reported) log.warn({ err: error }, 'lost a connection to Redis for wake-ups');
    this.reported = true;
  }
}
