import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { Api } from './api.js';

it('returns each item of a list once, even if it moves to a later page, and terminates', async () => {
  const requests: string[] = [];
  const pages = [['a', 'b'], ['b', 'c'], ['a', 'c'], ['d']];
  const server = createServer((request, response) => {
    requests.push(request.url ?? '');
    const data = pages[requests.length - 1]?.map((id) => ({ id, page: requests.length }));
    response.end(JSON.stringify({ object: 'list', data, has_more: true }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const api = new Api({ url: `http://127.0.0.1:${port}`, apiKey: 'k' });
  expect(await api.all('/jobs?order_by=train_loss')).toEqual([
    { id: 'a', page: 1 },
    { id: 'b', page: 1 },
    { id: 'c', page: 2 },
  ]);
  const [first, second, third] = ['', '&after=b', '&after=c'];
  expect(requests).toEqual(
    [first, second, third].map((after) => `/jobs?order_by=train_loss&limit=100${after}`),
  );
  requests.length = 0;
  expect((await api.all('/jobs', 3)).map(({ id }) => id)).toEqual(['a', 'b', 'c']);
  expect(requests).toEqual(['/jobs?limit=3', '/jobs?limit=1&after=b']);
  server.close();
});

it('reconnects to a stream with the last event id, even after a connection without ids', async () => {
  const requests: unknown[] = [];
  const bodies = ['id: 7\nevent: event\ndata: 1\n\n', 'event: job\ndata: 2\n\n', 'data: 3\n\n'];
  const server = createServer((request, response) => {
    requests.push(request.headers['last-event-id']);
    response.end(bodies[requests.length - 1]);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const api = new Api({ url: `http://127.0.0.1:${port}/v1`, apiKey: 'k' });
  const stop = new AbortController();
  const received: string[] = [];
  for await (const { data } of api.events('/stream', { signal: stop.signal })) {
    received.push(data);
    if (received.length === bodies.length) break;
  }
  stop.abort();
  server.close();
  expect(received).toEqual(['1', '2', '3']);
  expect(requests).toEqual([undefined, '7', '7']);
});
