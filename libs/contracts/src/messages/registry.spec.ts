import { describe, expect, it } from 'vitest';
import { lineOf, payloadJson, readRunEvent, runEvents, type RunEvent } from './registry.js';
import { MODEL_REQUESTS } from './requests/index.js';

const metrics = { loss: 0.5, learning_rate: 1e-3, grad_norm: 1, 'rewards/margin': 2 };
const step = { step: 3, tokens: 10, seconds: 0.01, waited_seconds: 0, rss_bytes: 1, metrics };
const many = Object.fromEntries(Array.from({ length: 65 }, (_, n) => [`m${n}`, n]));
const file = { name: 'a.safetensors', sha256: 'a'.repeat(64), size: 1 };
const saved = { step: 1, files: [file], adapter: [], best: false };
const log = { level: 'info', message: 'a line', code: null };

const read = (kind: string, payload: unknown) => readRunEvent(kind, JSON.stringify(payload));

describe('a run event', () => {
  it('has a unique name', () => {
    expect(new Set(runEvents.map(({ kind }) => kind)).size).toBe(runEvents.length);
  });

  it('preserves NaN in JSON and drops unknown fields', () => {
    const event = { kind: 'step', payload: { ...step, metrics: { loss: NaN } } } as const;
    expect(readRunEvent('step', payloadJson(event))).toEqual(event);
    expect(read('step', { ...step, dir: '/etc' })).toEqual({ kind: 'step', payload: step });
  });

  it('is ignored if its kind is unknown', () => {
    expect(readRunEvent('from_a_newer_worker', 'not JSON')).toBeNull();
    expect(readRunEvent('toString', '{}')).toBeNull();
  });

  it('has texts that can be stored', () => {
    const long = { ...log, message: `\0\ud800${'x'.repeat(9000)}` };
    expect(read('log', long)?.payload).toEqual({ ...log, message: `�${'x'.repeat(8190)}` });
  });

  it.each([
    ['step', null, 'step: Invalid input: expected object, received null'],
    ['step', { ...step, step: -1 }, 'step.step: Too small: expected number to be >=0'],
    [
      'step',
      { ...step, tokens: 2 ** 31 },
      'step.tokens: expected an integer ≤ 2147483647, got 2147483648',
    ],
    ['step', { ...step, rss_bytes: 2 ** 53 }, 'step.rss_bytes: '],
    ['step', { ...step, metrics: { 'a,b': 1 } }, 'step.metrics.a,b: '],
    ['step', { ...step, metrics: { loss: '1' } }, 'step.metrics.loss: '],
    ['step', { ...step, metrics: many }, 'step.metrics: more than 64 metrics'],
    ['saved', { ...saved, files: [{ name: 'a' }] }, 'saved.files.0.sha256: '],
    [
      'saved',
      { ...saved, files: [{ ...file, name: '../a' }] },
      'saved.files.0.name: not a plain file name',
    ],
    [
      'saved',
      { ...saved, adapter: [{ ...file, sha256: 'A' }] },
      'saved.adapter.0.sha256: not a lower-case hexadecimal',
    ],
    ['log', { ...log, level: 'loud' }, 'log.level: '],
  ])('is rejected with the name of the field: %s %j', (kind, payload, complaint) => {
    expect(() => read(kind, payload)).toThrow(complaint);
  });

  it('may have unknown choices if the writer may be newer', () => {
    const newer = (kind: string, payload: object) =>
      readRunEvent(kind, JSON.stringify(payload), { mayBeNewer: true })?.payload;
    const failed = { code: 'crash', message: 'm', param: null, retryable: true };
    expect(newer('log', { ...log, level: 'debug' })).toEqual(log);
    expect(newer('failed', { ...failed, blame: 'nobody' })).toEqual(failed);
    expect(newer('stopped', { reason: 'rebalance', step: 3 })).toEqual({
      reason: 'other',
      step: 3,
    });
    expect(() => newer('log', { ...log, level: 5 })).toThrow('log.level: ');
    expect(() => newer('log', { ...log, level: 'debug', message: 5 })).toThrow('log.message: ');
    expect(() => newer('stopped', { step: 3 })).toThrow('stopped.reason: ');
    expect(() => read('stopped', { reason: 'rebalance', step: 3 })).toThrow('stopped.reason: ');
  });

  it('keeps the end of stderr, which has the reason', () => {
    const failed = { code: 'crash', message: 'm', param: null, retryable: true };
    const written = { ...failed, stderr_tail: `${'x'.repeat(9000)}the reason` };
    expect(read('failed', written)?.payload).toEqual({
      ...failed,
      stderr_tail: `${'x'.repeat(8182)}the reason`,
    });
  });

  // Each issue costs time and memory, and a worker may fill a message with invalid elements.
  it.each([
    ['saved', { ...saved, files: Array(100_000).fill(0) }],
    ['saved', { ...saved, files: Array(1000).fill({}) }],
    ['saved', { ...saved, adapter: Array(1001).fill(file) }],
    ['ledger', { step: 1, examples: 1, mean_loss: 1, rows: Array(100_000).fill({}) }],
    ['sampled', { step: 1, samples: Array(100_000).fill({}) }],
    [
      'evaluated',
      { step: 1, metrics, full: true, confusion: { classes: Array(100_000).fill(-1), cells: [] } },
    ],
    [
      'step',
      { ...step, metrics: Object.fromEntries(Array.from({ length: 65 }, (_, n) => [n, ''])) },
    ],
  ])('reports one issue for a long list of invalid elements: %s', (kind, payload) => {
    const schema = runEvents.find((one) => one.kind === kind)?.payload;
    expect(schema?.safeParse(payload).error?.issues).toHaveLength(1);
  });

  it('has a line of text', () => {
    const event: RunEvent = { kind: 'step', payload: step };
    expect(lineOf(event, 10)).toBe('Step 3/10: training loss=0.5000');
    expect(lineOf(event)).toBe('Step 3/?: training loss=0.5000');
    expect(lineOf({ kind: 'stopped', payload: { reason: 'pause', step: 3 } })).toBe('stopped');
  });
});

describe('a response chunk', () => {
  const piece = { text: '', finish_reason: null, prompt_tokens: 1, completion_tokens: 1 };
  const token = { token: 'a', bytes: [97], logprob: -1, start: 0, top: [] };
  const segment = { seek: 0, start: 0, end: 0, text: '', avg_logprob: 0, no_speech_prob: null };

  it.each([
    ['generate', { ...piece, logprobs: Array(40_000).fill({}) }],
    ['generate', { ...piece, logprobs: Array(1000).fill({}) }],
    ['generate', { ...piece, logprobs: [{ ...token, bytes: Array(2000).fill(-1) }] }],
    ['generate', { ...piece, logprobs: Array(100).fill({ ...token, top: Array(20).fill({}) }) }],
    ['generate', { ...piece, tool_calls: Array(100_000).fill({}) }],
    ['transcribe', { ...piece, segments: Array(100_000).fill({}) }],
    ['transcribe', { ...piece, segments: [{ ...segment, tokens: Array(500).fill(-1) }] }],
  ] as const)('reports one issue for a long list of invalid elements: %s', (kind, payload) => {
    expect(MODEL_REQUESTS[kind].answer.safeParse(payload).error?.issues).toHaveLength(1);
  });
});
