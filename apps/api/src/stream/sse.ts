import type { StreamKind } from '@graft/contracts';
import type { Request, Response } from 'express';
import { once } from 'node:events';

const HEARTBEAT_MS = 5000;
const MAX_BUFFERED = 256 * 1024;

/** An open event stream. Sends headers and heartbeats, and ends if the client does not read. */
export class Sse {
  readonly closed: Promise<void>;
  private over = false;
  private readonly heartbeat: NodeJS.Timeout;

  constructor(
    request: Request,
    private readonly response: Response,
  ) {
    request.socket.setNoDelay(true);
    response.status(200);
    response.setHeader('content-type', 'text/event-stream; charset=utf-8');
    response.setHeader('cache-control', 'no-cache, no-transform');
    response.setHeader('x-accel-buffering', 'no');
    response.write('retry: 2000\n\n');
    this.heartbeat = setInterval(() => response.write(': heartbeat\n\n'), HEARTBEAT_MS);
    this.closed = once(response, 'close').then(() => this.end());
  }

  get open(): boolean {
    return !this.over;
  }

  send(kind: StreamKind, data: unknown, id?: number): void {
    this.write(message(kind, data, id));
  }

  /** Writes an encoded event (`message`). */
  write(bytes: Buffer): void {
    if (!this.over) this.response.write(bytes);
  }

  /**
   * Waits until the client has read. A client that does not is disconnected, and reconnects with its last
   * event id.
   */
  async drained(): Promise<void> {
    if (this.over || this.response.writableLength < MAX_BUFFERED) return;
    const patience = AbortSignal.timeout(30_000);
    await Promise.race([once(this.response, 'drain', { signal: patience }), this.closed]).catch(
      () => {
        this.response.destroy();
        this.end();
      },
    );
  }

  end(): void {
    if (this.over) return;
    this.over = true;
    clearInterval(this.heartbeat);
    this.response.end();
  }
}

/** Encodes an event, which is the same for all clients. */
export function message(kind: StreamKind, data: unknown, id?: number): Buffer {
  const head = id === undefined ? '' : `id: ${id}\n`;
  return Buffer.from(`${head}event: ${kind}\ndata: ${JSON.stringify(data)}\n\n`);
}

/** Returns `Last-Event-ID` as a number, or null if it is absent or not an event number. */
export function lastEventId(request: Request): number | null {
  const raw = request.headers['last-event-id'] ?? request.query['last_event_id'];
  return typeof raw === 'string' && /^\d{1,15}$/.test(raw) ? Number(raw) : null;
}
