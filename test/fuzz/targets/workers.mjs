// Messages of workers to the API, and of trainers to their worker.
import { Event } from '@graft/contracts/grpc';
import { joinedAnswer, payloadJson, readAnswer } from '@graft/contracts';
import { canExist, readEvent } from '../../../apps/api/dist/events/reported.js';
import { valuesText } from '../../../apps/api/dist/history/metric-values.js';
import { readFact } from '../../../apps/worker/dist/protocol/fact-schema.js';
import { encodeFact } from '../../../apps/worker/dist/protocol/fact-frames.js';
import { FrameDecoder } from '../../../apps/worker/dist/protocol/frames.js';
import { domainRefusal, plainRefusal } from '../fuzz.mjs';
import { bytes, cut, json } from '../mutate.mjs';

const run = { jobId: 'ftjob-1', attempt: 1 };
const file = { name: 'adapter_model.safetensors', sha256: 'a'.repeat(64), size: 5 };
const events = [
  { kind: 'started', payload: { from_step: 0, total_steps: 9, trainable_parameters: 5, total_parameters: 50, training_examples: 4 } },
  { kind: 'step', payload: { step: 1, tokens: 5, seconds: 0.1, waited_seconds: 0, rss_bytes: 5, metrics: { loss: 1.5, grad_norm: null } } },
  { kind: 'evaluated', payload: { step: 1, full: true, metrics: { loss: 1.5 } } },
  { kind: 'saved', payload: { step: 1, files: [file], adapter: [file], best: false } },
  { kind: 'finished', payload: { step: 9, published_step: 8, adapter: [file], trained_tokens: 5, forgetting: null } },
  { kind: 'failed', payload: { code: 'crash', message: 'm', param: null, retryable: true } },
  { kind: 'stopped', payload: { reason: 'pause', step: 3 } },
  { kind: 'phase', payload: { code: 'c', message: 'm', progress: 0.5 } },
  { kind: 'log', payload: { level: 'warn', code: null, message: 'm' } },
]; // prettier-ignore
const facts = [
  ...events.map((event) => ({ type: 'event', ...run, ...event, payload: payloadJson(event) })),
  { type: 'log', level: 'warn', code: null, message: 'm' },
  { type: 'needs', ...run, bytes: { state: 1, activations: 2, data: 3, total: 6 } },
  { type: 'answer', id: 'a', piece: JSON.stringify({ text: 't', finish_reason: 'stop', prompt_tokens: 1, completion_tokens: 1 }), last: true, errorCode: null, errorMessage: null },
  { type: 'ready', protocol: 4, pid: 1, libtorch: '2', trainerBuild: 'b', threads: 1, cudaDevices: 0 },
]; // prettier-ignore

const token = { token: 'a', bytes: [97], logprob: -1 };
const pieces = {
  generate: { text: 't', finish_reason: 'stop', prompt_tokens: 1, completion_tokens: 1, logprobs: [{ ...token, start: 0, top: [token] }], tool_calls: [{ name: 'n', arguments: '{}' }] },
  infer: { answers: ['AAAA', { label: 'a', score: 0.5 }], prompt_tokens: 1 },
  transcribe: { text: 't', segments: [{ seek: 0, start: 0, end: 1.5, text: 't', tokens: [5], avg_logprob: -1, no_speech_prob: null }], sound: { seconds: 1.5, language: 'en' }, prompt_tokens: 1, completion_tokens: 1 },
}; // prettier-ignore
const keys = ['logprobs', 'segments', 'answers'];
const pieceOf = Object.entries(pieces).map(([kind, piece]) => {
  const text = json([piece], { keys, values: [token] });
  return (r) => ({ kind, texts: [String(text(r)), String(text(r))] });
});

const envelope = (kind, json) => ({ ...run, sequence: 1, atUnixMs: 1e12, kind, payload: Buffer.from(json) }); // prettier-ignore
/** Event of a worker with a damaged payload, not only a damaged envelope. */
const payloads = json(events.map(({ payload }) => payload), { keys: ['progress', 'param', 'step'], values: [file, 'cancel'] }); // prettier-ignore
const damagedPayload = (r) =>
  Buffer.from(Event.encode(envelope(r.pick(events).kind, payloads(r))).finish());
const encoded = (event) =>
  Buffer.from(Event.encode(envelope(event.kind, payloadJson(event))).finish());
const eventBytes = bytes(events.map(encoded), [
  '\x0a',
  '\xff\xff\xff\xff\x0f',
  'loss',
  '__proto__',
  '../x',
]);

function texts(value) {
  if (typeof value === 'string') return [value];
  return value === null || value === undefined || typeof value !== 'object'
    ? []
    : Object.values(value).flatMap(texts);
}

function store(reported) {
  if (!canExist(reported)) return null;
  const { event } = readEvent(reported);
  const { metrics } = event?.payload ?? {};
  if (metrics !== undefined) JSON.parse(valuesText(metrics));
  // PostgreSQL's text and jsonb can store neither
  if (texts(event?.payload).some((text) => !text.isWellFormed() || text.includes('\0')))
    throw new TypeError('a text that cannot be stored');
  return event;
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
    name: 'piece of an answer',
    make: (r) => r.pick(pieceOf)(r),
    // the agent ends the trainer, and the API the response
    refusal: plainRefusal(SyntaxError),
    run: ({ kind, texts }) => {
      const read = texts.map((text) => readAnswer(kind, JSON.parse(text)));
      const joined = joinedAnswer(read);
      if (read.some(({ text = '' }) => !joined.text?.includes(text) && text !== ''))
        throw new TypeError('a text is lost');
      return joined;
    },
  },
  {
    name: 'event of a worker',
    make: (r) => (r.chance(0.5) ? eventBytes(r) : damagedPayload(r)),
    // gRPC itself rejects a message that cannot be decoded
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
    // an invalid frame ends the trainer that sent it
    refusal: plainRefusal(RangeError, SyntaxError),
    run: (input, r) => {
      const decoder = new FrameDecoder();
      const heard = [];
      for (const chunk of cut(r, input)) heard.push(...decoder.push(chunk));
      return heard.map((message) => {
        const fact = readFact(message);
        encodeFact(fact);
        if (fact.type !== 'event') return fact;
        try {
          return store(Event.decode(Event.encode(envelope(fact.kind, fact.json)).finish()));
        } catch (error) {
          throw new TypeError(`accepted, but cannot be passed on: ${error?.stack}`, {
            cause: error,
          });
        }
      });
    },
  },
];
