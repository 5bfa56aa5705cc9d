import type { NestExpressApplication } from '@nestjs/platform-express';
import { AnswerChunks } from './chat/answers/answer-chunks.js';
import { Readiness } from './readiness.js';
import { OpenRequests } from './http/open-requests.js';
import { log } from './log.js';
import { JobStream } from './stream/job-stream.js';
import { WorkerGrpcServer } from './worker-service/server.js';
import { Gateways } from './relay/gateways.js';
import { RelayServer } from './relay/relay-server.js';

/** Load balancers check every 2 s and act on the second failed check. */
const NOTICE_MS = 5_000;
/** Time for interrupted streams to send their error. */
const TELL_MS = 1_000;
const LOOK_MS = 50;

/**
 * Drains the process: workers reconnect to other processes, new requests are rejected, and running ones may finish
 * within `limitMs`; after that, streams of answers end with an error. If other processes are running, requests are
 * accepted until load balancers have noticed.
 */
export async function drain(app: NestExpressApplication, limitMs: number): Promise<void> {
  const begin = performance.now();
  const within = async (ms: number, isOver: () => boolean): Promise<boolean> => {
    while (!isOver() && performance.now() - begin < ms)
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    return isOver();
  };
  app.get(Readiness).state = 'stopping';
  app.get(WorkerGrpcServer).goAway();
  app.get(JobStream).endAll();
  if (app.get(Gateways).living.size > 0) await within(Math.min(NOTICE_MS, limitMs), () => false);
  const [requests, relayed] = [app.get(OpenRequests), app.get(RelayServer)];
  requests.rejectNew();
  if (await within(limitMs, () => requests.count + relayed.count === 0)) return;
  log.warn(
    { requests: requests.count, relayed: relayed.count },
    'interrupted requests that did not finish in time',
  );
  app.get(AnswerChunks).stop();
  await within(limitMs + TELL_MS, () => requests.count === 0);
}
