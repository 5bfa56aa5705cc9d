// A webhook receiver that records requests and responds as the test defines.
import {
  createServer,
  type IncomingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import type { WebhookEventObject } from '@graft/contracts';
import { until } from './fixture.js';

export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly event: WebhookEventObject;
}

export class WebhookReceiver {
  readonly received: Received[] = [];
  /** Maximum number of concurrent requests. */
  mostAtOnce = 0;
  /** Responds to a request; the default is 204. */
  answer: (response: ServerResponse, one: Received) => void = (response) =>
    void response.writeHead(204).end();
  private open = 0;
  private readonly server: Server;

  private constructor() {
    this.server = createServer((request, response) => {
      this.mostAtOnce = Math.max(this.mostAtOnce, ++this.open);
      response.on('close', () => this.open--);
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const body = Buffer.concat(chunks).toString();
        const { url: path = '', headers } = request;
        const event = (body ? JSON.parse(body) : null) as WebhookEventObject;
        const one = { path, headers, body, event };
        this.received.push(one);
        this.answer(response, one);
      });
    });
  }

  static async open(): Promise<WebhookReceiver> {
    const receiver = new WebhookReceiver();
    await new Promise<void>((resolve) => receiver.server.listen(0, '127.0.0.1', resolve));
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/hook`;
  }

  /** Waits for `count` requests about one object and returns them. */
  async of(target: string, count = 1): Promise<Received[]> {
    const found = (): Received[] => this.received.filter(({ event }) => event.data.id === target);
    await until(() => found().length >= count);
    return found();
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
