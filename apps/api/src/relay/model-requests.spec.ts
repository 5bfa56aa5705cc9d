import type { ModelRequest } from '@graft/contracts/grpc';
import { expect, it } from 'vitest';
import type { Connection, Connections } from './connections.js';
import { ModelRequests } from './model-requests.js';
import type { Relay } from './relay.js';

const ADDRESS = { workerId: 'worker', sessionId: 'session', gatewayId: null };

/** Stream of a worker. `take` accepts the message that waits in `sendInTurn`. */
function stream() {
  const sent: string[] = [];
  let take: () => void = () => undefined;
  const send: Connection['send'] = (body) => sent.push(body.$case) > 0;
  const worker: Partial<Connection> = {
    send,
    sendInTurn: (body) =>
      new Promise((resolve) => {
        take = () => resolve(send(body));
      }),
  };
  const connections: Partial<Connections> = { get: () => worker as Connection };
  const modelRequests = new ModelRequests(connections as Connections, {} as Relay);
  return { modelRequests, sent, take: () => take() };
}

it('sends no media to a worker if the client left before the request was sent', async () => {
  const { modelRequests, sent, take } = stream();
  const left = new AbortController();
  const request = { id: 'answer' } as ModelRequest;
  const media = [Buffer.from('a clip')];
  const answer = modelRequests.responses(ADDRESS, { request, media }, left.signal).next();
  left.abort();
  expect(await answer).toMatchObject({ done: true });
  take();
  await new Promise((resolve) => setImmediate(resolve));
  // A worker that received the cancellation before the request would wait for the clip until its stream ends.
  expect(sent.at(-1)).toBe('cancelModelRequest');
  expect(sent).not.toContain('askedMedia');
});
