// What workers tell the API, and trainers their worker.
import { Event } from '@graft/contracts/grpc';
import { canExist, storable } from '../../../apps/api/dist/events/reported.js';
import { valuesText } from '../../../apps/api/dist/history/metric-values.js';
import * as wire from '../../../apps/worker/dist/events/wire-facts.js';
import { readFact } from '../../../apps/worker/dist/protocol/fact-schema.js';
import { encodeFact, shortTexts } from '../../../apps/worker/dist/protocol/fact-frames.js';
import { FrameDecoder } from '../../../apps/worker/dist/protocol/frames.js';
import { domainRefusal, plainRefusal } from '../fuzz.mjs';
import { bytes, cut, json } from '../mutate.mjs';

const run = { jobId: 'ftjob-1', attempt: 1 };
const file = { name: 'adapter_model.safetensors', sha256: 'a'.repeat(64), size: 5 };
const facts = [
  { type: 'started', ...run, fromStep: 0, totalSteps: 9, trainableParameters: 5, totalParameters: 50, trainingExamples: 4 },
  { type: 'step', ...run, step: 1, tokens: 5, seconds: 0.1, waitedSeconds: 0, rssBytes: 5, metrics: { loss: 1.5, grad_norm: null } },
  { type: 'evaluated', ...run, step: 1, full: true, metrics: { loss: 1.5 } },
  { type: 'saved', ...run, step: 1, files: [file], adapter: [file], best: false },
  { type: 'finished', ...run, step: 9, publishedStep: 8, adapter: [file], trainedTokens: 5, peakRssBytes: 5 },
  { type: 'failed', ...run, code: 'crash', message: 'm', param: null, retryable: true },
  { type: 'stopped', ...run, reason: 'pause', step: 3 },
  { type: 'phase', ...run, code: 'c', message: 'm', progress: 0.5 },
  { type: 'log', level: 'warn', code: null, message: 'm' },
  { type: 'needs', ...run, bytes: { state: 1, activations: 2, data: 3, total: 6 } },
  { type: 'answer', id: 'a', kind: 'generate', piece: { text: 't', finish_reason: 'stop', prompt_tokens: 1, completion_tokens: 1 }, last: true, errorCode: null, errorMessage: null },
  { type: 'ready', protocol: 3, pid: 1, libtorch: '2', trainerBuild: 'b', threads: 1, cudaDevices: 0 },
]; // prettier-ignore

/** As attempts/attempt.ts passes it on. */
function onTheWire(fact) {
  switch (fact.type) {
    case 'started':
      return wire.started(fact, 'p');
    case 'step':
      return wire.step(fact);
    case 'evaluated':
      return wire.evaluated(fact);
    case 'saved':
      return wire.saved(fact);
    case 'finished':
      return wire.finished(fact);
    case 'failed':
      return wire.failed({ ...fact, param: fact.param ?? '' });
    case 'stopped':
      return wire.stopped(fact.reason, fact.step);
    case 'phase':
      return wire.phase(fact);
    case 'log':
      return wire.log(fact.level, fact.message, fact.code);
    default:
      return undefined;
  }
}

const event = (fact) => ({ ...run, sequence: 1, at: new Date(1e12), fact: onTheWire(fact) });
const encoded = (fact) => Buffer.from(Event.encode(Event.fromPartial(event(fact))).finish());
const eventBytes = bytes(facts.map(encoded), [
  '\x0a',
  '\xff\xff\xff\xff\x0f',
  'loss',
  '__proto__',
  '../x',
]);

function texts(value) {
  if (typeof value === 'string') return [value];
  return value === null || typeof value !== 'object' ? [] : Object.values(value).flatMap(texts);
}

function store(event) {
  if (!canExist(event)) return null;
  const { fact } = storable(event);
  const { metrics } = fact?.value ?? {};
  if (metrics !== undefined) JSON.parse(valuesText(metrics));
  // PostgreSQL's text and jsonb hold neither
  if (
    fact?.$case !== 'step' &&
    fact?.$case !== 'evaluated' &&
    texts(fact).some((text) => !text.isWellFormed() || text.includes('\0'))
  )
    throw new TypeError('a text that cannot be stored');
  return fact ?? null;
}

const frame = (text) => {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  return Buffer.concat([length, text]);
};
const factOf = json(facts, {
  keys: ['progress', 'param', 'jobId'],
  values: ['cancel', 'error', file],
});
const frameBytes = bytes(facts.map((fact) => frame(Buffer.from(JSON.stringify(fact)))));

export const targets = [
  {
    name: 'event of a worker',
    make: eventBytes,
    // gRPC answers a message that cannot be decoded by itself.
    refusal: (error) =>
      error?.undecodable ? plainRefusal(RangeError)(error.undecodable) : domainRefusal(error),
    refused: (fact) => fact === null,
    run: (input) => {
      let event;
      try {
        event = Event.decode(input);
      } catch (error) {
        throw { undecodable: error };
      }
      return store(event);
    },
  },
  {
    name: 'frame of a trainer',
    make: (r) => (r.chance(0.3) ? frameBytes(r) : frame(factOf(r))),
    // A frame that is none ends the trainer that sent it.
    refusal: plainRefusal(RangeError, SyntaxError),
    run: (input, r) => {
      const decoder = new FrameDecoder();
      const heard = [];
      for (const chunk of cut(r, input)) heard.push(...decoder.push(chunk));
      return heard.map((message) => {
        const fact = shortTexts(readFact(message));
        encodeFact(fact);
        const told = onTheWire(fact);
        if (told === undefined) return fact;
        try {
          return store(Event.decode(Event.encode(Event.fromPartial(event(fact))).finish()));
        } catch (error) {
          if (domainRefusal(error) === null) return null;
          throw new TypeError(`heard, and cannot be told: ${error?.stack}`, { cause: error });
        }
      });
    },
  },
];
