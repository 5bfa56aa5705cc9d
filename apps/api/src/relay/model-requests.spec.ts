import type { ModelRequest } from '@graft/contracts/grpc';
import { expect, it } from 'vitest';
import type { Connection, Connections } from './connections.js';
import { ModelRequests } from './model-requests.js';
import type { Relay } from './relay.js';

const ADDRESS = { workerId: 'worker', sessionId: 'session', gatewayId: null };

/** A worker's stream that takes what goes in turn when it is told to. */
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
  // a worker that heard of the end first would wait for the sound as long as its stream stands
  expect(sent.at(-1)).toBe('cancelModelRequest');
  expect(sent).not.toContain('askedMedia');
});
