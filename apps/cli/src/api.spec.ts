import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { Api } from './api.js';

it('comes back to a stream with the last id that it saw, also after a connection that brought none', async () => {
  const asked: unknown[] = [];
  const bodies = ['id: 7\nevent: event\ndata: 1\n\n', 'event: job\ndata: 2\n\n', 'data: 3\n\n'];
  const server = createServer((request, response) => {
    asked.push(request.headers['last-event-id']);
    response.end(bodies[asked.length - 1]);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const api = new Api({ url: `http://127.0.0.1:${port}/v1`, apiKey: 'k' });
  const stop = new AbortController();
  const heard: string[] = [];
  for await (const { data } of api.events('/stream', { signal: stop.signal })) {
    heard.push(data);
    if (heard.length === bodies.length) break;
  }
  stop.abort();
  server.close();
  expect(heard).toEqual(['1', '2', '3']);
  expect(asked).toEqual([undefined, '7', '7']);
});
