import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Watch } from './watch.js';
import type { WatchState } from './watch.js';

const VOCABULARY = 49_152; // ln = 10.80
const CHANCE = { loss: Math.log(VOCABULARY), of: 'among 49,152 tokens', isStart: false };

/** Warning codes with the step at which each was raised. */
function steps(
  losses: readonly number[],
  norm: (step: number) => number = () => 1,
  warmupSteps = 0,
) {
  const watch = new Watch({ chance: CHANCE, warmupSteps, learningRate: 10 });
  return losses.flatMap((loss, i) =>
    watch.step({ step: i + 1, loss, gradNorm: norm(i + 1) }).map(({ code, message }) => ({
      step: i + 1,
      code,
      message,
    })),
  );
}

/** Warning codes for evaluations [loss, whether it is the whole file] at every tenth step. */
function evaluations(...losses: readonly (readonly [number, boolean?])[]) {
  const watch = new Watch({ chance: CHANCE, warmupSteps: 0, learningRate: 1e-4 });
  return losses.flatMap(([loss, full = false], i) =>
    watch
      .evaluated({ step: 10 * (i + 1), loss, full })
      .map(({ message }) => ({ step: 10 * (i + 1), message })),
  );
}

const times = (count: number, value: number): number[] => Array<number>(count).fill(value);
const noisy = (from: number, to: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => from + ((to - from) * i) / count + 0.4 * Math.sin(7 * i));

/** Curves of real runs, described in libs/peft-core/test/recorded-curves.json. */
const recorded = JSON.parse(
  readFileSync(new URL('../../test/recorded-curves.json', import.meta.url), 'utf8'),
) as Record<
  'good' | 'plateau' | 'overfit' | 'spike' | 'ruined',
  { readonly losses: number[]; readonly valid: [step: number, loss: number][] }
>;

/** Steps and codes of the warnings for a run's curves. */
function alerts({ losses, valid }: (typeof recorded)['good'], chance = Math.log(96)): string[] {
  const options = { loss: chance, of: 'among 96 tokens', isStart: false };
  const watch = new Watch({ chance: options, warmupSteps: 4, learningRate: 0.01 });
  return losses.flatMap((loss, i) => {
    const step = i + 1;
    const said = watch.step({ step, loss, gradNorm: 1 });
    const measured = valid.find(([at]) => at === step);
    if (measured) said.push(...watch.evaluated({ step, loss: measured[1], full: true }));
    return said.map(({ code }) => `${step} ${code}`);
  });
}

/** Mulberry32: the same numbers for the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe('a good run', () => {
  it.each([
    ['falls', noisy(5, 1, 200)],
    ['stays low', noisy(0.6, 0.5, 200)],
    ['starts at chance', [...times(2, 10.82), 10.7, 10.5, 10.1, 9.7, ...noisy(9.5, 6, 100)]],
    ['easy examples first', [0.9, 1.4, 2.2, 1.1, 1.9, ...noisy(2.4, 2.2, 40)]],
  ])('has no warning: %s', (_, losses) => {
    expect(steps(losses)).toEqual([]);
  });

  it('may have a gradient of 0 in single steps', () => {
    expect(steps(times(40, 1), (step) => (step % 5 === 0 ? 0.1 : 0))).toEqual([]);
  });
});

describe('recorded curves', () => {
  it('of a good run raise no warning', () => {
    expect(alerts(recorded.good)).toEqual([]);
  });

  it('raise their warning at the right step', () => {
    expect(alerts(recorded.spike)).toEqual(['51 loss_spike']);
    expect(alerts(recorded.overfit)).toEqual(['288 plateau']);
    // The base of this run is not better than guessing in its own vocabulary, so a higher loss of guessing is
    // used.
    expect(alerts(recorded.plateau, 10)).toEqual(['72 plateau']);
    expect(alerts(recorded.ruined)).toEqual(['9 diverged']);
  });
});

describe('a loss spike', () => {
  it('raises one warning with a message', () => {
    const found = steps([...noisy(5, 3, 50), 40, 9, ...noisy(3, 2, 50), 50]);
    expect(found).toEqual([
      {
        step: 51,
        code: 'loss_spike',
        message: expect.stringMatching(
          /^the loss has jumped to 40\.00 at step 51, from about 3\.\d\d: look at the examples of that step; if it does not fall again, lower graft\.learning_rate \(now 10\) or graft\.max_grad_norm$/,
        ) as string,
      },
    ]);
  });

  it('raises no warning during warm-up or before there are 20 losses', () => {
    expect(steps([...noisy(5, 4.5, 19), 40, ...noisy(4.5, 3, 30)])).toEqual([]);
    expect(steps([...noisy(5, 3, 50), 40, ...noisy(3, 2, 50)], undefined, 51)).toEqual([]);
  });
});

describe('a slow worker', () => {
  /** Codes by step, for steps with these speeds and numbers of runs. */
  const codes = (paces: readonly (readonly [count: number, speed: number, company?: number])[]) => {
    const watch = new Watch({ chance: CHANCE, warmupSteps: 0, learningRate: 1e-4 });
    let step = 0;
    return paces.flatMap(([count, speed, company = 1]) =>
      times(count, speed).flatMap(() => {
        const said = watch.step({ step: ++step, loss: 2, gradNorm: 1, speed, company });
        return said.map(({ code }) => `${step} ${code}`);
      }),
    );
  };

  it('raises one warning after 50 steps at less than a third of the speed', () => {
    expect(
      codes([
        [60, 900],
        [200, 290],
      ]),
    ).toEqual(['110 slow']);
  });

  it('raises no warning at half the speed, for fewer steps, or with more runs', () => {
    expect(
      codes([
        [60, 900],
        [200, 450],
      ]),
    ).toEqual([]);
    expect(
      codes([
        [60, 900],
        [49, 100],
        [1, 900],
        [49, 100],
      ]),
    ).toEqual([]);
    expect(
      codes([
        [60, 900],
        [200, 200, 4],
      ]),
    ).toEqual([]);
  });
});

describe('a run at chance', () => {
  it('has diverged if it was better before: one warning with a message', () => {
    const found = steps([5.1, 65, ...times(150, 10.8)]);
    expect(found).toEqual([
      {
        step: 7,
        code: 'loss_at_chance',
        message:
          'the loss has stayed at 10.80, the loss of guessing among 49,152 tokens, for 5 steps: the run has diverged; lower graft.learning_rate (now 10)',
      },
    ]);
  });

  it('has learned nothing if it never was better', () => {
    const [found] = steps(times(30, 10.8));
    expect(found?.message).toContain('nothing has been learned yet');
  });

  it('raises no warning during warm-up', () => {
    expect(steps(times(30, 10.8), undefined, 20)[0]?.step).toBe(25);
  });

  it('raises the warning only once, even if it recurs much later', () => {
    const codes = steps([5, ...times(10, 10.8), ...noisy(5, 4, 120), ...times(10, 10.8)]);
    expect(codes.map(({ code }) => code)).toEqual(['loss_at_chance']);
  });
});

describe('a run that diverges', () => {
  it('is worse than guessing', () => {
    const [found] = steps([5, 30, 44, 61, 58, 70, 66]);
    expect(found).toMatchObject({ step: 6, code: 'diverged' });
    expect(found?.message).toContain(
      'the loss is 70.00, worse than guessing among 49,152 tokens (10.80)',
    );
  });

  it('does not count as at chance while its loss rises', () => {
    const codes = steps([7.6, 7.65, 10.7, 15, 62, 274, 207, 224, 190, 208]).map(({ code }) => code);
    expect(codes).toEqual(['diverged']);
  });

  it('is far above its best', () => {
    const [found, ...more] = steps([...noisy(2, 1.5, 20), ...times(30, 4.2)]);
    expect(found).toMatchObject({ step: 40, code: 'diverged' });
    expect(found?.message).toMatch(
      /^the loss is 4\.20, and has not been below 4\.20 for 20 steps, after a mean of 1\.\d\d at its best: the run has diverged/,
    );
    expect(more).toEqual([]);
  });

  it('is far above its best from the start', () => {
    const [found] = steps([...noisy(2, 1.9, 6), 3, 5, ...noisy(6, 5.9, 40)]);
    expect(found).toMatchObject({ code: 'diverged' });
    expect(found?.step).toBeLessThan(36);
  });
});

describe('a gradient of 0', () => {
  it('raises a warning with advice after five steps', () => {
    const [found] = steps(times(20, 3), (step) => (step > 10 ? 0 : 1));
    expect(found).toMatchObject({ step: 15, code: 'zero_gradient' });
    expect(found?.message).toBe(
      'the gradient has been 0 for 5 steps (loss 3.00): training has stopped making progress; lower graft.learning_rate (now 10)',
    );
  });

  it('is explained by memorized examples if the loss is 0', () => {
    const [found] = steps(times(20, 0), () => 0);
    expect(found?.message).toContain('memorized');
  });
});

describe('losses that differ only because of their examples', () => {
  const RUNS = 500;
  const LENGTH = 300;
  const normal = (random: () => number): number =>
    Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const quiet = (losses: (random: () => number, step: number) => number): number =>
    Array.from({ length: RUNS }, (_, run) => {
      const random = randomFrom(run);
      return steps(Array.from({ length: LENGTH }, (__, step) => losses(random, step)));
    }).filter((found) => found.length > 0).length;

  it.each<[string, (random: () => number, step: number) => number]>([
    ['half easy, half hard', (random) => (random() < 0.5 ? 0.2 : 1.5) * (0.8 + 0.4 * random())],
    ['log-normal', (random) => Math.exp(normal(random))],
    ['log-normal and high', (random) => Math.min(11, 3 * Math.exp(normal(random)))],
    ['memorized', (random) => 1e-3 * Math.exp(normal(random))],
    ['easy first, then hard', (random, step) => (step < 150 ? 0.4 : 1.2) * (0.9 + 0.2 * random())],
  ])('raise no warning: %s', (_, losses) => {
    expect(quiet(losses)).toBe(0);
  });

  it('do not hide a run that diverges', () => {
    for (let run = 0; run < 100; run++) {
      const random = randomFrom(run);
      const good = Array.from({ length: 60 }, () => Math.exp(normal(random) - 1));
      const bad = Array.from({ length: 40 }, () => 6 + 3 * random());
      const [found] = steps([...good, ...bad]);
      expect(found).toMatchObject({ code: 'diverged' });
      expect(found?.step).toBeLessThan(60 + 36);
    }
  });
});

describe('a run that resumes from a checkpoint', () => {
  /** Same as `steps`, but stopped after `at` steps and resumed from its state as JSON. */
  function resumed(losses: readonly number[], at: number): string[] {
    const options = { chance: CHANCE, warmupSteps: 0, learningRate: 10 };
    let watch = new Watch(options);
    return losses.flatMap((loss, i) => {
      if (i === at) {
        const state = JSON.parse(JSON.stringify(watch.state)) as WatchState;
        watch = new Watch(options);
        watch.resume(state);
      }
      return watch.step({ step: i + 1, loss, gradNorm: 1 }).map(({ code }) => `${i + 1} ${code}`);
    });
  }

  it.each([0, 1, 3, 15, 25, 39, 41, 60])(
    'raises the same warnings as without the stop at step %i',
    (at) => {
      const losses = [...noisy(2, 1.5, 20), ...times(30, 4.2), ...times(10, 10.8)];
      const whole = steps(losses).map(({ step, code }) => `${step} ${code}`);
      expect(whole).toEqual(['40 diverged', '55 loss_at_chance']);
      expect(resumed(losses, at)).toEqual(whole);
    },
  );

  it('keeps its lowest validation loss', () => {
    const options = { chance: CHANCE, warmupSteps: 0, learningRate: 10 };
    const first = new Watch(options);
    first.evaluated({ step: 10, loss: 2, full: false });
    first.evaluated({ step: 20, loss: 2.3, full: false });
    const second = new Watch(options);
    second.resume(JSON.parse(JSON.stringify(first.state)) as WatchState);
    const [found] = second.evaluated({ step: 30, loss: 2.6, full: false });
    expect(found?.message).toContain('it was lowest, 2.00, at step 10');
  });
});

describe('a validation loss', () => {
  it('that has risen twice raises one overfitting warning with its lowest point', () => {
    const found = evaluations([2.6], [2.23], [2.9], [3.6], [4.27]);
    expect(found).toEqual([
      {
        step: 40,
        message:
          'the validation loss has risen for 2 evaluations, to 3.60 at step 40; it was lowest, 2.23, at step 20: the run is overfitting. Use the checkpoint nearest to step 20, or train for fewer epochs',
      },
    ]);
  });

  it('raises one warning, however many steps are between evaluations', () => {
    const watch = new Watch({ chance: CHANCE, warmupSteps: 0, learningRate: 1e-4 });
    const said = [2, 2.5, 3, 3.5, 4, 4.5].flatMap((loss, i) =>
      watch.evaluated({ step: 500 * (i + 1), loss, full: false }),
    );
    expect(said).toHaveLength(1);
  });

  it('that has not fallen for five evaluations raises one plateau warning', () => {
    const found = evaluations([2.6], [2.2], ...times(8, 2.195).map((loss) => [loss] as const));
    expect(found).toEqual([
      {
        step: 70,
        message:
          'the validation loss has not fallen by 0.5 % for 5 evaluations, since 2.20 at step 20; it is 2.19 at step 70: the run has reached a plateau. Use the checkpoint nearest to step 20, or add data',
      },
    ]);
    expect(evaluations([2.6], [2.2], [2.18], [2.16], [2.14], [2.12], [2.1])).toEqual([]);
  });

  it('may rise slightly, or once, or on another part of the file', () => {
    expect(evaluations([2], [2.04], [2.06], [2.09])).toEqual([]);
    expect(evaluations([2], [2.5], [1.9], [2.4], [2.3])).toEqual([]);
    expect(evaluations([2], [2.5], [3, true])).toEqual([]);
  });
});

describe('evaluations that are not better', () => {
  const since = (...losses: readonly number[]) => {
    const watch = new Watch({ chance: CHANCE, warmupSteps: 0, learningRate: 1e-4 });
    const said = losses.flatMap((loss, i) => watch.evaluated({ step: i + 1, loss, full: false }));
    return [watch.sinceBetter, said.length];
  };

  it('are counted from the best one, or from the start if there is none', () => {
    expect(since(2)).toEqual([0, 0]);
    expect(since(2, 2.1, 2.05)).toEqual([2, 0]);
  });

  it('include non-finite ones, which do not extend the run', () => {
    expect(since(2, NaN, NaN)).toEqual([2, 0]);
    expect(since(2, NaN, 2.1, Infinity)).toEqual([3, 0]);
    expect(since(NaN, NaN, NaN)).toEqual([3, 0]);
    expect(since(NaN, NaN, 2)).toEqual([0, 0]);
    expect(since(2, NaN, 1)).toEqual([0, 0]);
    expect(since(2, NaN, NaN, NaN, NaN, NaN, NaN)).toEqual([6, 0]);
  });

  it('are counted across a checkpoint, even if none was finite', () => {
    const options = { chance: CHANCE, warmupSteps: 0, learningRate: 1e-4 };
    const first = new Watch(options);
    first.evaluated({ step: 1, loss: NaN, full: false });
    const second = new Watch(options);
    second.resume(JSON.parse(JSON.stringify(first.state)) as WatchState);
    second.evaluated({ step: 2, loss: NaN, full: false });
    expect(second.sinceBetter).toBe(2);
    second.evaluated({ step: 3, loss: 9, full: false });
    expect(second.sinceBetter).toBe(0);
  });
});

it('ignores the loss of guessing if runs start with it, but not one far above it', () => {
  const chance = { loss: Math.LN2, of: 'which answer is preferred', isStart: true };
  const watch = new Watch({ chance, warmupSteps: 0, learningRate: 1e-4 });
  const step = (n: number, loss: number) => watch.step({ step: n, loss, gradNorm: 1 });
  for (let n = 1; n <= 30; n++) expect(step(n, Math.LN2)).toEqual([]);
  const said = [31, 32, 33, 34, 35].flatMap((n) => step(n, 0.9));
  expect(said).toMatchObject([
    { code: 'diverged', message: expect.stringContaining('worse than guessing which answer') },
  ]);
});
