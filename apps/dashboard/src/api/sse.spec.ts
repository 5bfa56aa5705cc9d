// Uses Node's own fetch: that of happy-dom also reports a lost connection outside of its promise.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import type { ServerEvent } from '@graft/contracts/sse';
import { follow, type FollowOptions } from './sse.js';

type Answer = (response: ServerResponse, request: IncomingMessage) => void;

const open = (response: ServerResponse, ...parts: string[]): void => {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.flushHeaders();
  for (const part of parts) response.write(part);
};
const step = (id: number): string => `id: ${id}\nevent: metrics\ndata: {"step":${id}}\n\n`;
const refuse =
  (status: number): Answer =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify({
        error: { message: `refused ${status}`, type: 'x', param: null, code: null },
      }),
    );
  };

// Browser features that Node does not have: storage for the key, and URLs relative to the page.
const fetchAbsolute = fetch;
let base = '';
vi.stubGlobal('sessionStorage', { getItem: () => 'sk-graft-test' });
const tab = Object.assign(new EventTarget(), { visibilityState: 'visible' });
vi.stubGlobal('document', tab);
const show = (visibilityState: 'visible' | 'hidden') => {
  tab.visibilityState = visibilityState;
  tab.dispatchEvent(new Event('visibilitychange'));
};
vi.stubGlobal('fetch', (path: string, init: RequestInit) =>
  fetchAbsolute(new URL(path, base), init),
);
afterAll(() => vi.unstubAllGlobals());

let server: Server | null = null;
afterEach(() => {
  show('visible');
  server?.closeAllConnections();
  server?.close();
});

/**
 * Runs a server that answers requests in turn and repeats the last answer. Returns the events and
 * connection states that a follower receives.
 */
async function followed(answers: readonly Answer[], options: Partial<FollowOptions> = {}) {
  const ids: (string | undefined)[] = [];
  const listening = createServer((request, response) => {
    ids.push(request.headers['last-event-id'] as string | undefined);
    (answers[ids.length - 1] ?? answers.at(-1))?.(response, request);
  });
  server = listening;
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(listening.address() as AddressInfo).port}/`;
  const events: ServerEvent[] = [];
  const links: boolean[] = [];
  const stop = new AbortController();
  const on = {
    event: (e: ServerEvent) => void events.push(e),
    connected: (yes: boolean) => void links.push(yes),
    retryMs: 20,
    ...options,
  };
  const over = follow('/fine_tuning/jobs/ftjob-1/stream', on, stop.signal);
  over.catch(() => undefined);
  const until = async (look: () => boolean) => {
    for (const end = Date.now() + 20_000; !look(); await new Promise((r) => setTimeout(r, 5)))
      if (Date.now() > end) throw new Error(`in vain: ${JSON.stringify({ ids, events, links })}`);
  };
  return { ids, events, links, over, until, stop };
}

describe('following a stream', () => {
  it('reconnects with the last event id, without missing or repeating events', async () => {
    const cut: Answer = (response) => {
      open(response, step(1), step(2), 'id: 3\nevent: metrics\ndata: {"st'); // Cut in the middle of an event.
      setTimeout(() => response.destroy(), 30);
    };
    const { ids, events, links, over, until, stop } = await followed([
      cut,
      (response) => open(response, step(3), step(4)),
    ]);
    await until(() => events.length >= 4);
    expect(events.map((event) => event.id)).toEqual(['1', '2', '3', '4']);
    expect(ids).toEqual([undefined, '2']);
    expect(links).toEqual([true, false, true]);
    stop.abort();
    await over;
    expect(ids.length).toBe(2);
  });

  it('starts after the known event', async () => {
    const { ids, events, until, stop } = await followed([(response) => open(response, step(8))], {
      after: 7,
    });
    await until(() => events.length === 1);
    expect(ids).toEqual(['7']);
    stop.abort();
  });

  it('drops a silent connection, and keeps one that sends heartbeats', async () => {
    let beats = 0;
    const beating: Answer = (response) => {
      open(response, step(2));
      const timer = setInterval(() => {
        beats += 1;
        response.write(': heartbeat\n\n');
      }, 80);
      response.on('close', () => clearInterval(timer));
    };
    const { ids, links, until, stop } = await followed(
      [(response) => open(response, step(1)), beating],
      { silenceMs: 1500 },
    );
    await until(() => beats >= 25);
    expect(ids).toEqual([undefined, '1']);
    expect(links).toEqual([true, false, true]);
    stop.abort();
  });

  it('holds no connection while the tab is hidden, and continues where it stopped when shown', async () => {
    let closed = 0;
    show('hidden');
    const { ids, events, links, until, stop, over } = await followed([
      (response) => {
        response.on('close', () => (closed += 1));
        open(response, step(1), step(2));
      },
      (response) => open(response, step(3)),
    ]);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(ids).toEqual([]);
    show('visible');
    await until(() => events.length === 2);
    show('hidden');
    await until(() => closed === 1);
    await new Promise((resolve) => setTimeout(resolve, 100)); // Five times the reconnect delay.
    expect(ids).toEqual([undefined]);
    show('visible');
    await until(() => events.length === 3);
    expect(ids).toEqual([undefined, '2']);
    expect(links).toEqual([true, true]); // Never reported as lost.
    show('hidden');
    stop.abort();
    await over;
  });

  it('retries while the server is down, and stops after a permanent error', async () => {
    const { ids, over, links } = await followed([refuse(503), refuse(429), refuse(404)]);
    await expect(over).rejects.toThrow('refused 404');
    expect(ids.length).toBe(3);
    expect(links).toEqual([false, false]);
  });
});
