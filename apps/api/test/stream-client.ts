import { get as httpGet, type IncomingMessage } from 'node:http';
import type { TestApi } from './fixture.js';

interface Received {
  readonly id: number | null;
  readonly kind: string;
  readonly data: Record<string, unknown>;
}

/** Client of an event stream that records its events. */
export class StreamClient {
  readonly seen: Received[] = [];
  readonly text: string[] = [];
  status = 0;
  ended = false;
  private response: IncomingMessage | null = null;

  constructor(api: Pick<TestApi, 'url' | 'headers'>, path: string, lastId?: string) {
    const headers = {
      ...api.headers,
      ...(lastId === undefined ? {} : { 'last-event-id': lastId }),
    };
    httpGet(`${api.url}/v1${path}`, { headers, agent: false }, (response) => {
      this.response = response;
      this.status = response.statusCode ?? 0;
      let rest = '';
      response.on('close', () => (this.ended = true));
      response.setEncoding('utf8').on('error', () => undefined);
      response.on('data', (chunk: string) => {
        const blocks = (rest + chunk).split('\n\n');
        rest = blocks.pop() ?? '';
        for (const block of blocks) this.block(block);
      });
    }).on('error', () => undefined);
  }

  private block(block: string): void {
    this.text.push(block);
    const field = (name: string): string | undefined =>
      new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
    const kind = field('event');
    if (kind)
      this.seen.push({
        id: field('id') ? Number(field('id')) : null,
        kind,
        data: JSON.parse(field('data') ?? '{}'),
      });
  }

  get ids(): number[] {
    return this.seen.flatMap(({ id }) => (id === null ? [] : [id]));
  }

  leave(): void {
    this.response?.destroy();
  }
}
