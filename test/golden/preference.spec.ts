// Rewards, loss, gradients and twenty steps of every golden of a preference task equal those of TRL's losses,
// reimplemented on Transformers and PEFT (stems/dpo.py, cpo.py, orpo.py, kto.py).
import { join } from 'node:path';
import {
  AdamW,
  attachMethod,
  buildModel,
  microBatches,
  taskFor,
  type Adapter,
  type Model,
  type Sums,
  type Task,
  type TokenSequence,
} from '@graft/peft-core';
import { mapSafetensors, noGrad, setThreads, tidy } from '@graft/kernels';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  casesOf,
  difference,
  familiesOf,
  floats,
  HERE,
  json,
  largest,
  ourName,
  values,
} from './golden-case.js';
import { begin, readNamed } from './initial.js';
import { RUN, worst, type Trajectory } from './steps.js';

/**
 * Tolerance relative to the largest value. Rewards are differences of sums, so theirs is relative to beta ·
 * the largest log p.
 */
const TOLERANCE = 1e-5;
const GRADIENTS = 1e-4;
const [LOSS, NORM, FINAL] = [2e-5, 2e-4, 1e-3];
/**
 * Tolerance of the hinge loss, which falls from 1 to 0.03 and then 0: 9e-7 of one is 2.2e-5 of it. Measured
 * with AVX2.
 */
const HINGE_LOSS = 3e-5;

interface Tokens {
  readonly prompt: number[];
  readonly chosen: number[];
  readonly rejected: number[];
}
interface Facts {
  readonly options: { readonly beta: number };
}
type Peft = { readonly peft_type: string };
interface JudgedTokens {
  readonly prompt: number[];
  readonly completion: number[];
  readonly label: boolean;
}
interface PreferenceExample {
  readonly tokenCount: number;
  readonly rows: number;
}

type PreferenceTask = Task<PreferenceExample, unknown, Facts['options']>;

/** @param passes number of forward passes of the base */
const pair =
  (passes: number) =>
  ({ prompt, chosen, rejected }: Tokens) => {
    const sequence = (answer: number[]): TokenSequence => ({
      tokens: Int32Array.from([...prompt, ...answer]),
      labels: Int32Array.from([...prompt.slice(1).fill(-100), ...answer, -100]),
      first: -100,
    });
    const tokenCount = 2 * prompt.length + chosen.length + rejected.length;
    return {
      chosen: sequence(chosen),
      rejected: sequence(rejected),
      tokenCount,
      rows: passes * tokenCount,
    };
  };

function judged({ prompt, completion, label }: JudgedTokens) {
  const tokenCount = prompt.length + completion.length;
  return {
    prompt: Int32Array.from(prompt),
    completion: {
      tokens: Int32Array.from(completion),
      targetMask: new Uint8Array(completion.length).fill(1),
    },
    good: label,
    maxSeqLen: 100,
    tokenCount,
    rows: 2 * tokenCount,
  };
}

interface Kind {
  readonly file: string;
  example(record: unknown): PreferenceExample;
  /** Golden tensors with the rewards, and the metrics that their records correspond to. */
  readonly rewards: Readonly<Record<string, readonly string[]>>;
  /** Golden tensor with the log probabilities whose differences are the rewards. */
  readonly logs: string;
}

const pairs = (passes: number): Kind => ({
  file: 'pairs.json',
  example: pair(passes) as Kind['example'],
  rewards: { chosen_rewards: ['rewards_chosen'], rejected_rewards: ['rewards_rejected'] },
  logs: 'chosen_log_probabilities',
});

const KINDS: Readonly<Record<string, Kind>> = {
  dpo: pairs(2),
  cpo: pairs(1),
  orpo: pairs(1),
  kto: {
    file: 'judged.json',
    example: judged as Kind['example'],
    rewards: { rewards: ['rewards_chosen', 'rewards_rejected'] },
    logs: 'log_probabilities',
  },
};

/** Names in the stems that differ from our names of metrics. */
const NAMES: Readonly<Record<string, string>> = {
  rewards_chosen: 'chosen_reward',
  rewards_rejected: 'rejected_reward',
  rewards_margin: 'margin',
};

type Options = Facts['options'];

const metricsOf = (task: PreferenceTask, sums: Sums): Record<string, number | null> =>
  Object.fromEntries(task.metrics.map(({ name, of }) => [name, of(sums)]));

/** Sums over some pairs. With `count`, also the gradients of their part of a mean over `count` pairs. */
function run(
  task: PreferenceTask,
  model: Model,
  examples: readonly PreferenceExample[],
  options: Options,
  count: number | null,
): Sums {
  const ctx = { training: count !== null, runs: new Map([[RUN, { seed: 0, step: 0 }]]) };
  const scales = count === null ? null : new Map([[RUN, 1 / count]]);
  const score = () => tidy(() => task.loss(model, [{ run: RUN, examples, options }], ctx, scales));
  return (count === null ? noGrad(score) : score()).get(RUN)!;
}

/** Adds the sums of a step's micro-batches. */
function added(parts: readonly Sums[]): Sums {
  const totals: Record<string, number> = {};
  for (const part of parts)
    for (const [name, value] of Object.entries(part.totals))
      totals[name] = (totals[name] ?? 0) + value;
  return { units: parts.reduce((sum, { units }) => sum + units, 0), totals };
}

/** Compares gradients by name, relative to the largest value of each. */
function expectGradients(
  ours: ReadonlyMap<string, Float32Array>,
  theirs: ReadonlyMap<string, Float32Array>,
): void {
  expect([...ours.keys()].sort()).toEqual([...theirs.keys()].sort());
  const top = Math.max(...[...theirs.values()].map(largest));
  for (const [key, gradient] of theirs)
    expect(
      difference(ours.get(key)!, gradient) / Math.max(largest(gradient), 1e-3 * top),
      key,
    ).toBeLessThan(GRADIENTS);
}

const gradientsOf = ({ parameters }: Adapter): Map<string, Float32Array> =>
  new Map([...parameters].map(([name, { grad }]) => [name, floats(grad!)]));

beforeAll(() => setThreads(1));

const places = Object.keys(KINDS).flatMap((of) =>
  familiesOf(of).map((family) => [of, family] as const),
);

describe.each(places)('%s on %s', (of, family) => {
  const task = taskFor(of) as PreferenceTask;
  const kind = KINDS[of]!;
  let model: Model;
  let close: () => void;
  const batches = json<unknown[][]>(family, kind.file).map((batch) => batch.map(kind.example));
  beforeAll(() => {
    const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
    close = () => file.close();
    model = buildModel(json(family, 'base', 'config.json'), file.tensors, {
      dtype: 'f32',
      quantization: null,
    });
  });
  afterAll(() => {
    model.dispose();
    close();
  });

  for (const name of casesOf(family, of)) {
    const options = task.options.parse(json<Facts>(family, name, 'golden.json').options);
    const peft = json<Peft>(family, name, 'adapter_config.json');
    const attached = (act: (adapter: Adapter) => void): void => {
      const adapter = attachMethod(model, peft, { run: RUN, seed: 0 });
      try {
        begin(adapter, join(family, name, 'initial.safetensors'));
        act(adapter);
      } finally {
        adapter.detach();
      }
    };

    it(`${name}: rewards of each pair, the loss and its gradients`, () => {
      const golden = values(join(family, name, 'golden.safetensors'));
      const scale = options.beta * largest(golden.get(kind.logs)!);
      attached((adapter) => {
        const [batch] = batches as [PreferenceExample[]];
        for (const [i, one] of batch.entries()) {
          const metrics = metricsOf(task, run(task, model, [one], options, null));
          for (const [name, ours] of Object.entries(kind.rewards)) {
            const reward = ours.map((metric) => metrics[metric]).find((one) => one != null);
            const apart = Math.abs(reward! - golden.get(name)![i]!) / scale;
            expect(apart, `${name} ${i}`).toBeLessThan(TOLERANCE);
          }
        }
        const { loss } = metricsOf(task, run(task, model, batch, options, batch.length));
        const theirs = golden.get('loss')![0]!;
        expect(Math.abs(loss! - theirs) / Math.max(1, theirs)).toBeLessThan(TOLERANCE);
        const gradients = [...golden].filter(([key]) => key.startsWith('grad.'));
        expectGradients(
          gradientsOf(adapter),
          new Map(gradients.map(([key, value]) => [ourName(key.slice(5)), value])),
        );
      });
    });

    it.each([
      ['whole', 1e9],
      ...(task.wholeBatches ? [] : [['in forwards of at most 90 rows', 90] as const]),
    ] as const)(`${name}: twenty steps, each %s`, (_, budget) => {
      const trajectory = json<Trajectory & { metrics: Record<string, number>[] }>(
        family,
        name,
        'trajectory.json',
      );
      const { settings, learning_rates: rates } = trajectory;
      attached((adapter) => {
        const optimizer = new AdamW(adapter.parameters, {
          weightDecay: settings.weight_decay,
          decays: () => true,
        });
        const losses: number[] = [];
        const norms: number[] = [];
        for (let step = 0; step < settings.steps; step++) {
          const examples = batches[step % batches.length]!;
          const metrics = metricsOf(
            task,
            added(
              microBatches(examples, budget).map((micro) =>
                run(task, model, micro.examples, options, examples.length),
              ),
            ),
          );
          losses.push(metrics['loss']!);
          const theirs = trajectory.metrics[step]!;
          for (const [key, value] of Object.entries(metrics))
            if (key !== 'loss')
              expect(value, `${key} of step ${step}`).toBeCloseTo(
                (theirs[key] ?? theirs[NAMES[key]!])!,
                3,
              );
          norms.push(optimizer.clip(settings.max_grad_norm));
          optimizer.step(rates[step]!);
        }
        optimizer.dispose();
        expect(worst(losses, trajectory.losses)).toBeLessThan(
          name === 'dpo-hinge' ? HINGE_LOSS : LOSS,
        );
        expect(worst(norms, trajectory.grad_norms)).toBeLessThan(NORM);
        const { tensors, close: closeFinal } = readNamed(join(family, name, 'final.safetensors'));
        for (const [key, parameter] of adapter.parameters) {
          const theirs = floats(tensors.get(key)!);
          expect(difference(floats(parameter), theirs) / largest(theirs), key).toBeLessThan(FINAL);
        }
        closeFinal();
      });
    });

    // The mean equals that of one batch, so that a missing or duplicate micro-batch shows.
    if (task.wholeBatches)
      it(`${name}: a split batch equals an unsplit one`, () => {
        const [batch] = batches as [PreferenceExample[]];
        const rows = batch.reduce((sum, one) => sum + one.rows, 0);
        const many = Array.from({ length: Math.ceil(5000 / rows) }, () => batch).flat();
        attached((adapter) => {
          const one = metricsOf(task, run(task, model, batch, options, batch.length));
          const expected = gradientsOf(adapter);
          adapter.parameters.forEach((parameter) => parameter.zeroGrad());
          const all = metricsOf(task, run(task, model, many, options, many.length));
          for (const [key, value] of Object.entries(one))
            expect(all[key], key).toBeCloseTo(value!, 4);
          expectGradients(gradientsOf(adapter), expected);
        });
      });
  }

  it('runs that share a forward pass have the same results as alone, with any options', () => {
    const parts = casesOf(family, of).map((name, i) => {
      const adapter = attachMethod(model, json<Peft>(family, name, 'adapter_config.json'), {
        run: i,
        seed: i,
      });
      begin(adapter, join(family, name, 'initial.safetensors'));
      const options = task.options.parse(json<Facts>(family, name, 'golden.json').options);
      return { adapter, share: { run: i, examples: batches[i % batches.length]!, options } };
    });
    const score = (some: typeof parts) => {
      const shares = some.map(({ share }) => share);
      const runs = new Map(shares.map(({ run }) => [run, { seed: run, step: 0 }]));
      const scales = new Map(shares.map(({ run, examples }) => [run, 1 / examples.length]));
      const sums = tidy(() => task.loss(model, shares, { training: true, runs }, scales));
      const gradients = some.map(({ adapter }) => gradientsOf(adapter));
      for (const { adapter } of some) adapter.parameters.forEach((one) => one.zeroGrad());
      return { metrics: shares.map(({ run }) => metricsOf(task, sums.get(run)!)), gradients };
    };
    const together = score(parts);
    for (const [i, part] of parts.entries()) {
      const alone = score([part]);
      for (const [key, value] of Object.entries(alone.metrics[0]!))
        expect(together.metrics[i]![key], key).toBeCloseTo(value!, 4);
      expectGradients(together.gradients[i]!, alone.gradients[0]!);
    }
    for (const { adapter } of parts) adapter.detach();
  });
});
