// What a fact must look like before anybody acts on it. A trainer reads the models and data of users and need not
// be one of ours: what it says may end it, never the agent, which holds every other trainer.
import { logEvent, phaseEvent, readRunEvent } from '@graft/contracts';
import { z } from 'zod';
import type { Fact, ReadFact } from './protocol.js';

const count = z.int().min(0);
/** Counted, and so no integer. */
const bytes = z.number().min(0);
/** JSON has no NaN: it arrives as null. */
const real = z.number().nullable();
const word = z.string().max(1000);
/** Bounded by its frame; what is told to people is cut where it is told (fact-frames.ts). */
const text = z.string();
const run = { jobId: word, attempt: count };
const failure = { code: text, message: text, param: text.nullish() };

/** One per kind of fact; fields that are not named here are dropped. */
const FACTS = {
  ready: z.object({
    protocol: count,
    pid: count,
    libtorch: word,
    trainerBuild: word,
    threads: count,
    cudaDevices: count,
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
  }),
  log: logEvent.payload,
  pong: z.object({ sequence: count, rssBytes: count }),
} satisfies Record<Fact['type'], z.ZodObject>;

const kind = z.object({ type: z.enum(Object.keys(FACTS) as Fact['type'][]) });

/** @throws Error that names the kind of fact and what is wrong with it */
export function readFact(message: unknown): ReadFact {
  const { data: named, error: unnamed } = kind.safeParse(message);
  if (named === undefined) throw new Error(`not a fact: ${inWords(unnamed)}`);
  const { data, error } = FACTS[named.type].safeParse(message);
  if (data === undefined) throw new Error(`the fact "${named.type}": ${inWords(error)}`);
  // Codes of another build's trainer may be others.
  return named.type === 'event'
    ? event(data as EventFrame)
    : ({ type: named.type, ...data } as ReadFact);
}

type EventFrame = z.output<typeof FACTS.event>;

function event({ jobId, attempt, kind, payload: json }: EventFrame): ReadFact {
  const event = readRunEvent(kind, json);
  if (event === null) throw new Error(`no event is of the kind ${JSON.stringify(kind)}`);
  return { type: 'event', jobId, attempt, ...event, json };
}

function inWords({ issues: [issue] }: z.ZodError): string {
  const path = issue?.path.join('.') ?? '';
  return `${path === '' ? '' : `${path}: `}${issue?.message ?? 'it is malformed'}`;
}
