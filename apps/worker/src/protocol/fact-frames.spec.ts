import { describe, expect, it } from 'vitest';
import { encodeFact } from './fact-frames.js';
import { FrameDecoder } from './frames.js';
import type { Fact } from './protocol.js';

const KEY = { jobId: 'j', attempt: 1 };
const sent = (fact: Fact) => {
  const { frame, fits } = encodeFact(fact);
  return { fact: new FrameDecoder().push(frame)[0] as Fact, fits };
};

describe('a fact', () => {
  it('travels as it is', () => {
    const fact: Fact = { type: 'stopped', ...KEY, reason: 'pause', step: 3 };
    expect(sent(fact)).toEqual({ fact, fits: true });
  });

  it('has its texts cut', () => {
    const failed = { type: 'failed', ...KEY, code: 'crash', retryable: true } as const;
    const { fact, fits } = sent({
      ...failed,
      message: '"'.repeat(2 << 20),
      param: 'p'.repeat(9999),
    });
    expect(fits).toBe(true);
    expect(fact).toMatchObject(failed);
    expect((fact as typeof fact & { message: string }).message).toMatch(
      /^"{8000}… \(2,089,152 more characters\)$/,
    );
    expect(JSON.stringify(fact).length).toBeLessThan(32_000);
  });

  it('that is too large all the same becomes the failure of its run', () => {
    const file = { name: 'n'.repeat(200), sha256: 'a'.repeat(64), size: 1 };
    const files = Array<typeof file>(5000).fill(file);
    const { fact, fits } = sent({
      type: 'saved',
      ...KEY,
      step: 5,
      files,
      adapter: [],
      best: false,
    });
    expect(fits).toBe(false);
    expect(fact).toMatchObject({
      type: 'failed',
      ...KEY,
      code: 'internal_error',
      retryable: false,
    });
  });

  it('that is too large ends its answer, where it is one', () => {
    const { fact, fits } = sent({
      type: 'answer',
      id: 'a1',
      kind: 'generate',
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
