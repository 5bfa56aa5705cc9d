// Validation of facts. A trainer processes users' models and data and may be compromised. An invalid fact may end the
// trainer, but never the agent, which serves all other trainers.
import { logEvent, phaseEvent, readRunEvent } from '@graft/contracts';
import { z } from 'zod';
import type { Fact, ReadFact } from './protocol.js';

const count = z.int().min(0);
/** Estimated size, which may be fractional. */
const bytes = z.number().min(0);
/** Number; null stands for NaN, which JSON cannot represent. */
const real = z.number().nullable();
const word = z.string().max(1000);
/** Text limited by its frame. Texts for users are truncated by the sender (fact-frames.ts). */
const text = z.string();
const run = { jobId: word, attempt: count };
const failure = { code: text, message: text, param: text.nullish() };

/** Schema of each kind of fact. Unknown fields are dropped. */
const FACTS = {
  ready: z.object({
    protocol: count,
    pid: count,
    libtorch: word,
    trainerBuild: word,
    threads: count,
    cudaDevices: count,
    // A trainer that measures nothing may leave it out.
    speed: z
      .object({ bf16Flops: bytes, f32Flops: bytes, bytesPerSecond: bytes })
      .nullable()
      .default(null),
  }),
  loaded: z.object({
    baseId: word,
    family: word,
    parameters: count,
    seconds: real,
    rssBytes: count,
  }),
  loadFailed: z.object(failure),
  needs: z.object({
    ...run,
    bytes: z.object({
      state: bytes,
      activations: bytes,
      spared: bytes.optional(),
      answers: bytes.optional(),
      data: bytes,
      total: bytes,
    }),
  }),
  event: z.object({ ...run, kind: word, payload: z.string() }),
  phase: phaseEvent.payload,
  answer: z.object({
    id: word,
    piece: z.string().nullable(),
    last: z.boolean(),
    errorCode: text.nullable(),
    errorMessage: text.nullable(),
    errorParam: text.nullish(),
  }),
  log: logEvent.payload,
  pong: z.object({ sequence: count, rssBytes: count }),
} satisfies Record<Fact['type'], z.ZodObject>;

const kind = z.object({ type: z.enum(Object.keys(FACTS) as Fact['type'][]) });

/** Validates a fact. @throws Error that names the kind of fact and the problem */
export function readFact(message: unknown): ReadFact {
  const { data: named, error: unnamed } = kind.safeParse(message);
  if (named === undefined) throw new Error(`invalid fact: ${describe(unnamed)}`);
  const { data, error } = FACTS[named.type].safeParse(message);
  if (data === undefined) throw new Error(`invalid fact "${named.type}": ${describe(error)}`);
  // A trainer of another build may use other codes.
  return named.type === 'event'
    ? event(data as EventFrame)
    : ({ type: named.type, ...data } as ReadFact);
}

type EventFrame = z.output<typeof FACTS.event>;

function event({ jobId, attempt, kind, payload: json }: EventFrame): ReadFact {
  const event = readRunEvent(kind, json);
  if (event === null) throw new Error(`unknown event kind ${JSON.stringify(kind)}`);
  return { type: 'event', jobId, attempt, ...event, json };
}

function describe({ issues: [issue] }: z.ZodError): string {
  const path = issue?.path.join('.') ?? '';
  return `${path === '' ? '' : `${path}: `}${issue?.message ?? 'malformed'}`;
}
