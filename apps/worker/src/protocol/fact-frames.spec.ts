import { describe, expect, it } from 'vitest';
import { encodeFact } from './fact-frames.js';
import { readFact } from './fact-schema.js';
import { FrameDecoder } from './frames.js';
import type { Fact, ReadEvent } from './protocol.js';

const KEY = { jobId: 'j', attempt: 1 };
const sent = (fact: Fact) => {
  const { frame, fits } = encodeFact(fact);
  return { fact: readFact(new FrameDecoder().push(frame)[0]), fits };
};

describe('a fact', () => {
  it('is encoded unchanged', () => {
    const payload = { reason: 'pause', step: 3 } as const;
    const fact: Fact = { type: 'event', ...KEY, kind: 'stopped', payload };
    expect(sent(fact)).toEqual({ fact: { ...fact, json: JSON.stringify(payload) }, fits: true });
  });

  it('has its texts truncated', () => {
    const cause = { code: 'crash', retryable: true };
    const { fact, fits } = sent({
      type: 'event',
      ...KEY,
      kind: 'failed',
      payload: { ...cause, message: '"'.repeat(2 << 20), param: 'p'.repeat(9999) },
    });
    expect(fits).toBe(true);
    expect(fact).toMatchObject({ ...KEY, kind: 'failed', payload: cause });
    const { payload, json } = fact as ReadEvent & { kind: 'failed' };
    expect(payload.message).toMatch(/^"{8000}… \(2,089,152 more characters\)$/);
    expect(json.length).toBeLessThan(32_000);
  });

  it('that is still too large becomes a failure of its run', () => {
    const file = { name: 'n'.repeat(200), sha256: 'a'.repeat(64), size: 1 };
    const files = Array<typeof file>(5000).fill(file);
    const payload = { step: 5, files, adapter: [], best: false };
    const { fact, fits } = sent({ type: 'event', ...KEY, kind: 'saved', payload });
    expect(fits).toBe(false);
    expect(fact).toMatchObject({
      ...KEY,
      kind: 'failed',
      payload: { code: 'internal_error', retryable: false },
    });
  });

  it('that is too large ends its request', () => {
    const { fact, fits } = sent({
      type: 'answer',
      id: 'a1',
      piece: {
        text: 'x'.repeat(2 << 20),
        finish_reason: null,
        prompt_tokens: 1,
        completion_tokens: 1,
      },
      last: false,
      errorCode: null,
      errorMessage: null,
    });
    expect(fits).toBe(false);
    expect(fact).toMatchObject({
      type: 'answer',
      id: 'a1',
      piece: null,
      last: true,
      errorCode: 'internal_error',
    });
  });
});
