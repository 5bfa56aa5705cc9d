// What a fact must look like before anybody acts on it. A trainer reads the models and data of users and need not
// be one of ours: what it says may end it, never the agent, which holds every other trainer.
import {
  MAX_METRICS,
  METRIC_NAME,
  MODEL_REQUESTS,
  MOST_SAMPLE_PROMPTS,
  requestKind,
} from '@graft/contracts';
import { z } from 'zod';
import type { Fact } from './protocol.js';

/** More is none of a ledger. */
const MOST_LEDGER_ROWS = 1000;
/** As the wire's uint64 takes it. */
const count = z.int().min(0);
/** Counted, and so no integer. */
const bytes = z.number().min(0);
/** Of an answer: uint32. */
const tokens = z
  .int()
  .min(0)
  .max(2 ** 32 - 1);
/** JSON has no NaN: it arrives as null. */
const real = z.number().nullable();
const metrics = z
  .record(z.string().regex(METRIC_NAME), real)
  .refine((all) => Object.keys(all).length <= MAX_METRICS, `more than ${MAX_METRICS} numbers`);
const word = z.string().max(1000);
/** Bounded by its frame; what is told to people is cut where it is told (fact-frames.ts). */
const text = z.string();
const files = z.array(z.object({ name: word, sha256: word, size: count }));
const run = { jobId: word, attempt: count };
const maybeRun = { jobId: word.optional(), attempt: count.optional() };
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
  started: z.object({
    ...run,
    fromStep: count,
    totalSteps: count,
    trainableParameters: count,
    totalParameters: count,
    trainingExamples: count,
  }),
  step: z.object({
    ...run,
    step: count,
    seconds: z.number(),
    waitedSeconds: z.number(),
    tokens: count,
    rssBytes: count,
    metrics,
  }),
  evaluated: z.object({
    ...run,
    step: count,
    metrics,
    full: z.boolean(),
    confusion: z
      .object({
        classes: z.array(count),
        cells: z.array(count),
        examples: z.array(count).optional(),
      })
      .optional(),
  }),
  sampled: z.object({
    ...run,
    step: count,
    samples: z
      .array(z.object({ text, finishReason: z.enum(['stop', 'length']), tokens }))
      .max(MOST_SAMPLE_PROMPTS),
  }),
  ledger: z.object({
    ...run,
    step: count,
    examples: count,
    meanLoss: real,
    rows: z.array(z.object({ line: count, loss: real, baseLoss: real })).max(MOST_LEDGER_ROWS),
  }),
  saved: z.object({ ...run, step: count, files, adapter: files, best: z.boolean() }),
  finished: z.object({
    ...run,
    step: count,
    adapter: files,
    trainedTokens: count,
    peakRssBytes: count,
    publishedStep: count,
    forgetting: z.object({ loss: real, baseLoss: real }).nullish(),
  }),
  failed: z.object({
    ...run,
    ...failure,
    retryable: z.boolean(),
  }),
  stopped: z.object({
    ...run,
    reason: z.enum(['cancel', 'pause', 'drain', 'preempt']),
    step: count,
  }),
  phase: z.object({ ...maybeRun, code: text, message: text, progress: real.optional() }),
  answer: z
    .object({
      id: word,
      kind: requestKind,
      piece: z.unknown(),
      last: z.boolean(),
      errorCode: text.nullable(),
      errorMessage: text.nullable(),
    })
    .superRefine(({ kind, piece }, { addIssue }) => {
      if (piece === null) return;
      const { error } = MODEL_REQUESTS[kind].answer.safeParse(piece);
      for (const { path, message } of error?.issues ?? [])
        addIssue({ code: 'custom', path: ['piece', ...path], message });
    }),
  log: z.object({
    ...maybeRun,
    level: z.enum(['info', 'warn', 'error']),
    code: text.nullish(),
    message: text,
  }),
  pong: z.object({ sequence: count, rssBytes: count }),
} satisfies Record<Fact['type'], z.ZodObject>;

const kind = z.object({ type: z.enum(Object.keys(FACTS) as Fact['type'][]) });

/** @throws Error that names the kind of fact and what is wrong with it */
export function readFact(message: unknown): Fact {
  const { data: named, error: unnamed } = kind.safeParse(message);
  if (named === undefined) throw new Error(`not a fact: ${inWords(unnamed)}`);
  const { data, error } = FACTS[named.type].safeParse(message);
  if (data === undefined) throw new Error(`the fact "${named.type}": ${inWords(error)}`);
  // Codes of another build's trainer may be others; numbers may be null for NaN. Both travel on as they are.
  return { type: named.type, ...data } as Fact;
}

function inWords({ issues: [issue] }: z.ZodError): string {
  const path = issue?.path.join('.') ?? '';
  return `${path === '' ? '' : `${path}: `}${issue?.message ?? 'it is malformed'}`;
}
