import type { NestExpressApplication } from '@nestjs/platform-express';
import { AnswerChunks } from './chat/answers/answer-chunks.js';
import { Readiness } from './readiness.js';
import { OpenRequests } from './http/open-requests.js';
import { log } from './log.js';
import { JobStream } from './stream/job-stream.js';
import { WorkerGrpcServer } from './worker-service/server.js';
import { Gateways } from './relay/gateways.js';
import { RelayServer } from './relay/relay-server.js';

/** Balancers look every 2 s and believe the second look. */
const NOTICE_MS = 5_000;
/** Of streams that were cut, to be told. */
const TELL_MS = 1_000;
const LOOK_MS = 50;

/**
 * Sends workers to other processes, takes no new requests, and waits until those that go on have ended or `limitMs` are
 * over: then streams of answers end with an error. Where other processes live, requests are taken until balancers have
 * noticed.
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
  requests.refuse();
  if (await within(limitMs, () => requests.count + relayed.count === 0)) return;
  log.warn({ requests: requests.count, relayed: relayed.count }, 'cut what had not ended in time');
  app.get(AnswerChunks).stop();
  await within(limitMs + TELL_MS, () => requests.count === 0);
}
