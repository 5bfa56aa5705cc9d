import type { ChromeTraceEvent } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { chromeTrace } from './chrome-trace.js';
import type {
  Mark,
  StepGroup,
  TracedAttempt,
  TracedEval,
  TracedJob,
  TraceFacts,
} from './trace-facts.js';
import type { TraceSpan } from './trace-span.js';
import { spansOf } from './trace-spans.js';

const BEGIN = Date.UTC(2026, 0, 1);
const at = (seconds: number): Date => new Date(BEGIN + Math.round(seconds * 1000));
/** Seconds since BEGIN. */
const secondsOf = ({ start, end }: TraceSpan): number[] =>
  [start, end].map((ms) => (ms - BEGIN) / 1000);

const job = (more: Partial<TracedJob> = {}): TracedJob => ({
  id: 'ftjob-x',
  project_id: 'proj-default',
  base_id: 'tiny',
  model: 'tiny',
  pool: 'default',
  suffix: null,
  spec: { task: 'causal_lm', peft: { peft_type: 'LORA' } } as TracedJob['spec'],
  state: 'running',
  error: null,
  step: 0,
  total_steps: 10,
  trained_tokens: null,
  fine_tuned_model: null,
  received_at: at(0),
  created_at: at(1),
  finished_at: null,
  ...more,
});

const attempt = (number: number, times: (number | null)[], more: Partial<TracedAttempt> = {}) => {
  const [assigned, started, ended] = times.map((time) => (time === null ? null : at(time)));
  return {
    number,
    worker_name: 'rack-1',
    assigned_at: assigned!,
    started_at: started ?? null,
    ended_at: ended ?? null,
    outcome: ended ? 'done' : null,
    from_step: 0,
    last_step: null,
    ...more,
  } satisfies TracedAttempt;
};

/** Event number that increases with time. */
const numberAt = (when: number): number => Math.round(when * 1000);

/** Group of steps that end at these times. The first took one second. */
const group = (attempt: number, first: number, ...ends: number[]): StepGroup => ({
  number: numberAt(ends.at(-1)!),
  attempt,
  first,
  last: first + ends.length - 1,
  first_at: at(ends[0]!),
  last_at: at(ends.at(-1)!),
  first_seconds: 1,
  seconds: ends.length,
  tokens: 10 * ends.length,
});

const mark = (kind: Mark['kind'], when: number, step?: number, since?: number): Mark => ({
  number: numberAt(when),
  kind,
  at: at(when),
  step: step ?? null,
  since: since === undefined ? null : at(since),
});

const evalRun = (step: number, when: number, last: number | null) =>
  ({
    id: `evalrun-${step}`,
    step,
    status: last === null ? 'in_progress' : 'completed',
    at: at(when),
    last_at: last === null ? null : at(last),
  }) satisfies TracedEval;

const facts = (more: Partial<TraceFacts>): TraceFacts => ({
  job: job(),
  attempts: [],
  steps: [],
  marks: [],
  evals: [],
  phases: [],
  warnings: [],
  now: at(100),
  ...more,
});

const timesOf = (spans: readonly TraceSpan[]) =>
  spans.map((span) => [span.label, ...secondsOf(span)] as const);

describe('a job’s spans', () => {
  it('cover the whole job, from the request to the upload', () => {
    const spans = spansOf(
      facts({
        job: job({ state: 'succeeded', finished_at: at(30), step: 4, suffix: 'parrot' }),
        attempts: [attempt(1, [5, 10, 30])],
        phases: [
          { at: at(6), level: 'info', code: 'downloading', message: 'downloading the base' },
          { at: at(8), level: 'info', code: 'loading', message: 'loading the base' },
        ],
        steps: [group(1, 1, 11.5, 12.5), group(1, 3, 16, 17)],
        marks: [
          mark('evaluation', 14, 2),
          mark('checkpoint', 15.5, 2, 14),
          mark('evaluation', 19, 4),
        ],
        warnings: [{ at: at(13), level: 'warn', code: null, message: 'mind this' }],
      }),
    );
    expect(timesOf(spans)).toEqual([
      ['parrot (ftjob-x)', 0, 30],
      ['submit', 0, 1],
      ['queue', 1, 5],
      ['attempt 1 on rack-1', 5, 30],
      ['load', 5, 10],
      ['downloading the base', 6, 8],
      ['loading the base', 8, 10],
      ['train', 10, 19],
      ['steps 1–2', 10.5, 12.5],
      ['evaluation at step 2', 12.5, 14],
      ['steps 3–4', 15, 17],
      ['evaluation at step 4', 17, 19],
      ['upload', 19, 30],
      ['checkpoint at step 2', 14, 15.5],
    ]);
    expect(spans.every(({ isOpen, error }) => !isOpen && error === null)).toBe(true);
    expect(spans[3]!.warnings).toEqual([
      { at: at(13).getTime(), level: 'warn', message: 'mind this' },
    ]);
  });

  it('show waits, pauses, lost attempts and repeated steps', () => {
    const spans = spansOf(
      facts({
        job: job({ step: 4 }),
        attempts: [
          attempt(1, [2, 3, 20], { outcome: 'crash', last_step: 4 }),
          attempt(2, [25, 26, 30], { outcome: 'paused', from_step: 2, last_step: 3 }),
          attempt(4, [60, 61, null], { from_step: 3, last_step: 6 }),
        ],
        steps: [group(1, 1, 4, 5, 6, 7), group(4, 5, 65, 66)],
        marks: [mark('checkpoint', 8, 2, 5), mark('paused', 30.01), mark('resumed', 50)],
        now: at(70),
      }),
    );
    expect(timesOf(spans)).toEqual([
      ['ftjob-x', 0, 70],
      ['submit', 0, 1],
      ['queue', 1, 2],
      ['queue', 20, 25],
      ['paused', 30.01, 50],
      ['queue', 50, 60],
      ['attempt 1 on rack-1', 2, 20],
      ['load', 2, 3],
      ['train', 3, 20],
      ['steps 1–4', 3, 7],
      ['checkpoint at step 2', 5, 8],
      ['attempt 2 on rack-1', 25, 30],
      ['load', 25, 26],
      ['train', 26, 30],
      ['step 3, again', 26, 30],
      ['attempt 4 on rack-1', 60, 70],
      ['load', 60, 61],
      ['train', 61, 70],
      ['step 4, again', 61, 64],
      ['steps 5–6', 64, 66],
    ]);
    const errors = spans.filter(({ error }) => error !== null);
    expect(errors.map(({ label, error }) => [label, error])).toEqual([
      ['attempt 1 on rack-1', 'crash'],
    ]);
    const open = spans.filter(({ isOpen }) => isOpen).map(({ label }) => label);
    expect(open).toEqual(['ftjob-x', 'attempt 4 on rack-1', 'train']);
    const waits = spans.filter(({ name }) => name === 'queue' || name === 'paused');
    expect(waits.map((wait) => wait.attempt)).toEqual([1, 2, 4, 4]);
  });

  it('exist for a job that never ran', () => {
    const cancelled = job({ state: 'cancelled', received_at: null, finished_at: at(9) });
    expect(timesOf(spansOf(facts({ job: cancelled })))).toEqual([
      ['ftjob-x', 1, 9],
      ['queue', 1, 9],
    ]);
  });

  it('carry the job’s error, and end now if the job has not ended', () => {
    const error = { code: 'nonfinite', message: 'step 3: loss NaN', param: null };
    const [root] = spansOf(facts({ job: job({ state: 'failed', finished_at: at(9), error }) }));
    expect(root!.error).toBe('nonfinite: step 3: loss NaN');
    const waiting = spansOf(facts({}));
    expect(timesOf(waiting)).toEqual([
      ['ftjob-x', 0, 100],
      ['submit', 0, 1],
      ['queue', 1, 100],
    ]);
    expect(waiting.filter(({ isOpen }) => isOpen)).toHaveLength(2);
  });
});

/** Reproducible random numbers from 0 to 1. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

/** Random facts, as reported by workers with wrong clocks. */
function anyFacts(seed: number): TraceFacts {
  const random = seeded(seed);
  const far = (): number => random() * 120 - 20;
  let time = 1;
  const later = (): number => (time += random() * 9);
  const attempts = Array.from({ length: Math.floor(random() * 5) }, (_, n) =>
    attempt(n + 1, [later(), random() < 0.8 ? later() : null, later()], {
      outcome: random() < 0.5 ? 'done' : 'crash',
      from_step: Math.floor(random() * 4),
      last_step: Math.floor(random() * 9),
    }),
  );
  const any = <T>(make: (n: number) => T): T[] =>
    Array.from({ length: Math.floor(random() * 12) }, (_, n) => make(n));
  return facts({
    job: job({ finished_at: random() < 0.7 ? at(time) : null }),
    attempts,
    steps: any((n) => group(1 + (n % 5), 1 + n, far(), far())),
    marks: [
      ...any(() => mark(random() < 0.5 ? 'evaluation' : 'checkpoint', far(), 1, far())),
      // These times come from the database's clock.
      ...any(() => mark(random() < 0.5 ? 'paused' : 'resumed', 1 + random() * (time - 1))),
    ],
    phases: any(() => ({ at: at(far()), level: 'info', code: 'x', message: 'x' })),
    evals: any((n) => evalRun(1 + n, 1 + random() * time, random() < 0.8 ? random() * 200 : null)),
    now: at(time + 1),
  });
}

/** Whether the events of a thread are nested or disjoint, as trace viewers require. */
function isNested(events: readonly ChromeTraceEvent[]): boolean {
  const open: number[] = [];
  for (const { ts, dur } of events) {
    while (open.length > 0 && open.at(-1)! <= ts!) open.pop();
    const end = ts! + dur!;
    if (open.length > 0 && end > open.at(-1)!) return false;
    if (dur! > 0) open.push(end);
  }
  return true;
}

describe('a Chrome trace', () => {
  it('has spans, instant events and thread names', () => {
    const all = facts({
      job: job({ suffix: 'parrot' }),
      attempts: [attempt(1, [5, 10, null])],
      steps: [group(1, 1, 11, 12)],
      marks: [mark('checkpoint', 14, 1, 11), mark('checkpoint', 15, 2, 12)],
      warnings: [{ at: at(13), level: 'warn', code: null, message: 'mind this' }],
    });
    const { traceEvents: events, ...rest } = chromeTrace(all, spansOf(all));
    expect(rest).toEqual({ displayTimeUnit: 'ms', otherData: { job: 'ftjob-x' } });
    const named = events.filter(({ ph }) => ph === 'M');
    expect(named.map(({ name, tid, args }) => [name, tid, args['name']])).toEqual([
      ['process_name', 1, 'parrot (ftjob-x)'],
      ['thread_name', 1, 'job'],
      ['thread_name', 2, 'checkpoints'],
      ['thread_name', 3, 'checkpoints'],
    ]);
    expect(events.find(({ name }) => name === 'steps 1–2')).toEqual({
      name: 'steps 1–2',
      cat: 'steps',
      ph: 'X',
      pid: 1,
      tid: 1,
      ts: at(10).getTime() * 1000,
      dur: 2e6,
      args: {
        'graft.step.first': 1,
        'graft.step.last': 2,
        'graft.tokens': 20,
        'graft.compute_seconds': 2,
      },
    });
    expect(events.find(({ ph }) => ph === 'i')).toMatchObject({ name: 'mind this', s: 't' });
    expect(events.find(({ cat }) => cat === 'attempt')!.args['unfinished']).toBe(1);
  });

  it('has separate lanes for evals of checkpoints, also after the job’s end', () => {
    const all = facts({
      job: job({ finished_at: at(20) }),
      marks: [mark('checkpoint', 14, 1, 11)],
      evals: [evalRun(1, 14, 18), evalRun(2, 16, 25), evalRun(3, 19, null)],
    });
    const { traceEvents: events } = chromeTrace(all, spansOf(all));
    const lanes = events.filter(({ name }) => name === 'thread_name');
    expect(lanes.map(({ args }) => args['name'])).toEqual(['job', 'evals', 'evals']);
    const evals = events.filter(({ cat }) => cat === 'eval');
    expect(evals.map(({ name, tid, dur, args }) => [name, tid, dur, args['unfinished']])).toEqual([
      ['eval of the checkpoint at step 1', 2, 4e6, undefined],
      ['eval of the checkpoint at step 2', 3, 9e6, undefined],
      ['eval of the checkpoint at step 3', 2, 81e6, 1],
    ]);
  });

  it('never has overlapping spans on one thread, whatever workers report', () => {
    for (let seed = 1; seed <= 300; seed++) {
      const all = anyFacts(seed);
      const spans = spansOf(all);
      expect(new Set(spans.map(({ key }) => key)).size, `keys of ${seed}`).toBe(spans.length);
      const { traceEvents: events } = chromeTrace(all, spans);
      const tids = new Set(events.map(({ tid }) => tid));
      for (const thread of tids) {
        const those = events.filter(({ ph, tid }) => ph === 'X' && tid === thread);
        expect(isNested(those), `thread ${thread} of ${seed}`).toBe(true);
      }
    }
  });
});
