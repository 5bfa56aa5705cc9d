import { DomainError } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import type { Unanswered } from './batch-answers.js';
import type { LineResult } from './batch-claims.js';
import { LineWork } from './line-work.js';

interface Line {
  readonly number: number;
  readonly model: string;
}

const done = ({ number }: Line, isError = false): LineResult => ({
  number,
  isError,
  line: '',
  inputTokens: 0,
  outputTokens: 0,
});
const unanswered = (code: 'crash' | 'queue_full' | 'no_worker'): Unanswered => ({
  error: new DomainError(code, code),
  loss: code === 'crash' ? 1 : 0,
  isFull: code === 'queue_full',
});
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 2));

/** Works on lines of the models, once. */
async function work(
  models: readonly string[],
  answer: (line: Line, mayBeLost: boolean) => LineResult | Unanswered,
  store: (result: LineResult) => Promise<boolean> = () => Promise.resolve(true),
) {
  const stored: number[] = [];
  let [active, most] = [0, 0];
  async function* lines(): AsyncGenerator<Line> {
    for (const [i, model] of models.entries()) {
      await pause();
      yield { number: i + 1, model };
    }
  }
  const run = new LineWork<Line>({
    lines: lines(),
    most: 8,
    losses: new Map(),
    modelOf: ({ model }) => (new Set(models).size > 1 ? model : null),
    answer: async (line, mayBeLost) => {
      most = Math.max(most, ++active);
      await pause();
      active -= 1;
      return answer(line, mayBeLost);
    },
    store: async (result) => {
      const isOwned = await store(result);
      if (isOwned) stored.push(result.number);
      return isOwned;
    },
    isOver: () => false,
  }).run();
  const waitsFor = await run;
  return { stored: stored.toSorted((a, b) => a - b), most: () => most, waitsFor };
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

describe('LineWork', () => {
  it('answers every line, more of them concurrently as answers arrive', async () => {
    const { stored, most, waitsFor } = await work(Array<string>(60).fill('a'), (line) =>
      done(line),
    );
    expect(stored).toEqual(numbers(60));
    expect(most()).toBeGreaterThan(1);
    expect(most()).toBeLessThanOrEqual(8);
    expect(waitsFor).toBeNull();
  });

  it('ends with the reason if no worker has capacity', async () => {
    const { stored, waitsFor } = await work(['a', 'a', 'a'], () => unanswered('queue_full'));
    expect(stored).toEqual([]);
    expect(waitsFor?.code).toBe('queue_full');
  });

  it('fails only the line that crashes trainers', async () => {
    const failed: number[] = [];
    const { stored } = await work(Array<string>(20).fill('a'), (line, mayBeLost) => {
      if (line.number !== 7) return done(line);
      if (mayBeLost) return unanswered('crash');
      failed.push(line.number);
      return done(line, true);
    });
    expect(stored).toEqual(numbers(20));
    expect(failed).toEqual([7]);
  });

  it('sets the lines of a model aside that is not available', async () => {
    const models = ['away', 'away', ...Array<string>(10).fill('here'), 'away', 'here'];
    const asked: string[] = [];
    const { stored, waitsFor } = await work(models, (line) => {
      asked.push(line.model);
      return line.model === 'away' ? unanswered('no_worker') : done(line);
    });
    expect(stored).toEqual([...numbers(12).slice(2), 14]);
    expect(asked.filter((model) => model === 'away')).toHaveLength(1);
    expect(waitsFor?.code).toBe('no_worker');
  });

  it('stops at the first error of storage, and rejects with it', async () => {
    let calls = 0;
    const failing = work(
      Array<string>(500).fill('a'),
      (line) => done(line),
      ({ number }) => {
        calls += 1;
        return number >= 20 ? Promise.reject(new Error('away')) : Promise.resolve(true);
      },
    );
    await expect(failing).rejects.toThrow('away');
    expect(calls).toBeLessThan(40);
  });

  it('stops if another process has taken over', async () => {
    const { stored } = await work(
      Array<string>(500).fill('a'),
      (line) => done(line),
      ({ number }) => Promise.resolve(number < 20),
    );
    expect(stored.length).toBeLessThan(40);
  });
});
