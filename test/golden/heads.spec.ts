// Tasks with a head per run: logits, loss, gradients, merged weights, files and twenty steps of every golden
// case equal those of Transformers and PEFT. Same measure as in golden.spec.ts.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mapSafetensors, setThreads, tidy } from '@graft/kernels';
import {
  AdamW,
  buildModel,
  mergedWeights,
  microBatches,
  readAdapter,
  writeAdapter,
  type Adapter,
  type HfConfig,
  type Model,
} from '@graft/peft-core';
import { footprintOf, headOf } from '@graft/peft-core/catalog';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  casesOf,
  difference,
  familiesOf,
  floats,
  HERE,
  json,
  largest,
  values,
} from './golden-case.js';
import {
  attach,
  batchesOf,
  configOf,
  HEAD_TASKS,
  isUnmoved,
  logitsOf,
  named,
  optionsOf,
  start,
  task,
  type Config,
  type LabelledExample,
  type Options,
} from './heads.js';
import { readNamed } from './initial.js';
import { splitCases, worst, type Trajectory } from './steps.js';

const RUN = 3;
/**
 * Tolerance: largest difference divided by largest value. The error of f32 against f64 is up to 1.3e-5 here
 * (gradients).
 */
const F32 = 1e-4;
/**
 * Gradients that are zero except for rounding (key biases of every encoder) are compared with the largest
 * gradient of the case.
 */
const SCALE_FLOOR = 1e-2;
/** Relative tolerances; see trajectory.spec.ts. */
const [LOSS, NORM, FINAL] = [2e-5, 2e-4, 1e-3];

interface Facts {
  readonly bf16_against_f32?: Readonly<Record<'logits' | 'loss' | 'gradients', number>>;
}
interface Case {
  readonly name: string;
  readonly options: Options;
  readonly batch: readonly LabelledExample[];
}

function measure(model: Model, adapter: Adapter, { name, options, batch }: Case) {
  const logits = logitsOf(model, RUN, batch);
  const ctx = { training: true, runs: new Map([[RUN, { seed: 0, step: 0 }]]) };
  const units = batch.reduce((sum, example) => sum + task(name).units(example, null), 0);
  const shares = [{ run: RUN, examples: batch, options }];
  const sums = tidy(() => task(name).loss(model, shares, ctx, new Map([[RUN, 1 / units]]))).get(
    RUN,
  )!;
  const gradients = new Map(
    [...adapter.parameters]
      .filter(([, { grad }]) => grad !== null)
      .map(([key, parameter]) => {
        const found = floats(parameter.grad!);
        parameter.zeroGrad();
        return [key, found] as const;
      }),
  );
  return { logits, loss: sums.totals['loss']! / units, gradients };
}

function compare(
  ours: ReturnType<typeof measure>,
  golden: ReadonlyMap<string, Float32Array>,
  tolerance = { logits: F32, loss: F32, gradients: F32 },
): void {
  const logits = golden.get('logits')!;
  expect(ours.logits.length).toBe(logits.length);
  expect(difference(ours.logits, logits) / largest(logits), 'logits').toBeLessThan(
    tolerance.logits,
  );
  const [loss] = golden.get('loss')!;
  expect(Math.abs(ours.loss - loss!) / loss!, 'loss').toBeLessThan(tolerance.loss);
  const theirs = new Map(
    [...golden]
      .filter(([key]) => key.startsWith('grad.'))
      .map(([key, value]) => [named(key.slice(5)), value]),
  );
  expect([...ours.gradients.keys()].sort()).toEqual([...theirs.keys()].sort());
  const top = Math.max(...[...theirs.values()].map(largest));
  for (const [key, gradient] of theirs) {
    const scale = Math.max(largest(gradient), SCALE_FLOOR * top);
    expect(difference(ours.gradients.get(key)!, gradient) / scale, key).toBeLessThan(
      tolerance.gradients,
    );
  }
}

const listed = (value: unknown): unknown =>
  Array.isArray(value) ? [...new Set(value as unknown[])].sort() : value;

/**
 * Checks that the files equal PEFT's: the same tensors, and the same config except for the order of lists and
 * duplicates in them.
 */
function compareFiles(
  adapter: Adapter,
  peft: Config,
  family: string,
  name: string,
  of: string,
): void {
  const dir = mkdtempSync(join(tmpdir(), 'graft-golden-'));
  try {
    const config = json<HfConfig>(family, 'base', 'config.json');
    const head = task(of).head!;
    const facts = { task: task(of).peft, headConfig: head.config(optionsOf(family, name)) };
    const base = { config, tokenizerFiles: null as never };
    writeAdapter(dir, adapter, { base, baseName: '', peft, ...facts });
    const file = mapSafetensors(join(dir, 'adapter_model.safetensors'));
    const ours = new Map([...file.tensors].map(([key, each]) => [key, floats(each)]));
    const theirFile = mapSafetensors(join(HERE, family, name, 'adapter_model.safetensors'));
    const shapes = ({ tensors }: typeof file): unknown =>
      Object.fromEntries([...tensors].map(([key, { shape }]) => [key, shape]));
    expect(shapes(file)).toEqual(shapes(theirFile));
    theirFile.close();
    file.close();
    const theirs = values(join(family, name, 'adapter_model.safetensors'));
    expect([...ours.keys()].sort()).toEqual([...theirs.keys()].sort());
    for (const [key, value] of ours) {
      const golden = theirs.get(key)!;
      expect(difference(value, golden), key).toBeLessThan(1e-6 * Math.max(1, largest(golden)));
    }
    const written = JSON.parse(readFileSync(join(dir, 'adapter_config.json'), 'utf8')) as Config;
    const [mine, golden] = [written, peft].map((c) =>
      Object.fromEntries(Object.entries(c).map(([k, v]) => [k, listed(v)])),
    );
    expect(mine).toEqual(golden);
    const labels = JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8')) as HfConfig;
    expect(labels).toMatchObject({ ...facts.headConfig, model_type: config.model_type });
    // for these bases, AutoModelForAudioClassification of Transformers is a class named
    // ForSequenceClassification
    const models = of === 'audio_cls' && family.startsWith('wav2vec2') ? 'SequenceClassification' : task(of).peft.models; // prettier-ignore
    expect((labels['architectures'] as string[])[0]).toMatch(new RegExp(`For${models}$`));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/**
 * Losses and gradient norms of the steps, computed by the task's own loss. @param budget maximum number of
 * rows per forward pass
 */
function train(
  model: Model,
  adapter: Adapter,
  {
    name,
    options,
    batches,
  }: { name: string; options: Options; batches: readonly LabelledExample[][] },
  { settings, learning_rates: rates }: Trajectory,
  budget: number,
) {
  const optimizer = new AdamW(adapter.parameters, {
    weightDecay: settings.weight_decay,
    decays: () => true,
  });
  const [losses, norms]: [number[], number[]] = [[], []];
  for (let step = 0; step < settings.steps; step++) {
    const examples = batches[step % batches.length]!;
    const units = examples.reduce((sum, example) => sum + task(name).units(example, null), 0);
    let loss = 0;
    for (const micro of microBatches(examples, budget)) {
      const ctx = { training: true, runs: new Map([[RUN, { seed: 0, step }]]) };
      const shares = [{ run: RUN, examples: micro.examples, options }];
      const scales = new Map([[RUN, 1 / units]]);
      loss += tidy(() => task(name).loss(model, shares, ctx, scales)).get(RUN)!.totals['loss']!;
    }
    losses.push(loss / units);
    norms.push(optimizer.clip(settings.max_grad_norm));
    optimizer.step(rates[step]!, () => tidy(() => adapter.afterStep?.(step + 1)));
  }
  optimizer.dispose();
  return { losses, norms };
}

function compareFinal(adapter: Adapter, of: string, family: string, name: string): void {
  const { tensors, close } = readNamed(join(family, name, 'final.safetensors'), named);
  for (const [key, parameter] of adapter.parameters) {
    if (isUnmoved(of, key)) continue;
    const theirs = floats(tensors.get(key)!);
    const scale = Math.max(largest(theirs), 1e-12);
    expect(difference(floats(parameter), theirs) / scale, key).toBeLessThan(FINAL);
  }
  close();
}

beforeAll(() => setThreads(1));

const pairs = HEAD_TASKS.flatMap((of) => familiesOf(of).map((family) => [of, family] as const));

it('has goldens for every task with a head', () =>
  expect(new Set(pairs.map(([of]) => of))).toEqual(new Set(HEAD_TASKS)));

describe.each(pairs)('%s on %s', (of, family) => {
  const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
  const config = json<HfConfig>(family, 'base', 'config.json');
  const open = (
    dtype: 'f32' | 'bf16',
    tensors: ReadonlyMap<string, unknown> = file.tensors,
  ): Model => buildModel(config, tensors as typeof file.tensors, { dtype, quantization: null });
  let model: Model;

  beforeAll(() => void (model = open('f32')));
  afterAll(() => {
    model.dispose();
    file.close();
  });

  const facts = (name: string): Case & { readonly batches: readonly LabelledExample[][] } => {
    const options = optionsOf(family, name);
    const batches = batchesOf(of, family, options);
    return { name: of, options, batches, batch: batches[0]! };
  };
  const adapted = (on: Model, name: string, act: (adapter: Adapter) => void): void => {
    const { options } = facts(name);
    const adapter = attach(on, configOf(family, name), { name: of, options, run: RUN });
    try {
      start(adapter, family, name);
      act(adapter);
    } finally {
      adapter.detach();
    }
    expect(on.modules.heads.size).toBe(0);
  };
  const cases = casesOf(family, of);

  it.each(cases)('%s', (name) => {
    const golden = values(join(family, name, 'golden.safetensors'));
    const peft = configOf(family, name);
    const one = facts(name);
    adapted(model, name, (adapter) => {
      const trained = [...adapter.parameters.values()].reduce((sum, { size }) => sum + size, 0);
      const head = headOf({ task: of, task_options: one.options });
      const footprint = footprintOf(peft, config, false, head);
      expect(footprint.trainableParameters).toBe(trained);
      if (!peft) expect(footprint.totalParameters).toBe(trained);
      compare(measure(model, adapter, one), golden);
      if (peft) compareFiles(adapter, peft, family, name, of);
      const merged = golden.get('merged_logits');
      if (!merged) return;
      const lazy = [...mergedWeights(model, adapter, peft!.peft_type)];
      const whole = new Map(lazy.map(([key, weight]) => [key, weight.make()]));
      // tensors that only heads use do not change the base
      const other = open('f32', new Map<string, unknown>([...file.tensors, ...whole]));
      const bare = attach(other, null, { name: of, options: one.options, run: RUN });
      bare.load(new Map([...bare.parameters].map(([key, own]) => [key, whole.get(key) ?? own])));
      const first = logitsOf(other, RUN, one.batch).subarray(0, merged.length);
      expect(difference(first, merged) / largest(merged)).toBeLessThan(F32);
      bare.detach();
      other.dispose();
    });
  });

  it.each(cases.filter((name) => configOf(family, name)))(
    "%s: PEFT's file yields its logits",
    (name) => {
      const { options, batch } = facts(name);
      const stored = readAdapter(join(HERE, family, name), config);
      const adapter = attach(model, stored.peft as Config, {
        name: of,
        options,
        run: RUN,
        seed: 1,
      });
      try {
        tidy(() => adapter.load(stored.tensors));
        const logits = values(join(family, name, 'golden.safetensors')).get('logits')!;
        expect(difference(logitsOf(model, RUN, batch), logits) / largest(logits)).toBeLessThan(F32);
      } finally {
        adapter.detach();
        stored.dispose();
      }
    },
  );

  const split = splitCases(cases, (name) => configOf(family, name)?.peft_type ?? 'FULL');
  describe.each([
    ['whole', 1e9, cases],
    ['in forwards of at most 30 rows', 30, split],
  ] as const)('each step %s', (_, budget, some) => {
    it.each(some)('%s', (name) => {
      const trajectory = json<Trajectory>(family, name, 'trajectory.json');
      adapted(model, name, (adapter) => {
        const { losses, norms } = train(model, adapter, facts(name), trajectory, budget);
        expect(worst(losses, trajectory.losses)).toBeLessThan(LOSS);
        expect(worst(norms, trajectory.grad_norms)).toBeLessThan(NORM);
        if (configOf(family, name)) compareFinal(adapter, of, family, name);
      });
    });
  });

  const halves = cases.filter((name) => json<Facts>(family, name, 'golden.json').bf16_against_f32);
  it.each(halves)('%s in bf16', (name) => {
    const half = open('bf16');
    const expected = json<Required<Facts>>(family, name, 'golden.json').bf16_against_f32;
    adapted(half, name, (adapter) =>
      compare(
        measure(half, adapter, facts(name)),
        values(join(family, name, 'golden-bf16.safetensors')),
        {
          logits: 2 * expected.logits,
          loss: Math.max(2 * expected.loss, 5e-3),
          gradients: 2 * expected.gradients,
        },
      ),
    );
    half.dispose();
  });
});
