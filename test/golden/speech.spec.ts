// Models that transcribe audio: hidden states of both stacks, logits, loss, gradients, merged weights, files
// and twenty steps of every golden case equal those of Transformers and PEFT. Same measure as in
// golden.spec.ts.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { mapSafetensors, setThreads, tidy } from '@graft/kernels';
import {
  AdamW,
  attachMethod,
  buildModel,
  headFilesOf,
  readAdapter,
  storedCharacters,
  taskFor,
  writeAdapter,
  type Adapter,
  type HfConfig,
  type Model,
} from '@graft/peft-core';
import { footprintOf, headOf } from '@graft/peft-core/catalog';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  bases,
  casesOf,
  difference,
  floats,
  HERE,
  json,
  largest,
  ourName,
  values,
} from './golden-case.js';
import { isHidden } from './heads.js';
import { begin, readNamed } from './initial.js';
import { taskLoss, SPOKEN, type Options, type Spoken } from './speech-tasks.js';
import { worst, type Trajectory } from './steps.js';

const RUN = 3;
/**
 * Tolerance: largest difference divided by largest value. The error of f32 against f64 is up to 1.5e-5 here
 * (gradients).
 */
const F32 = 1e-4;
/**
 * Gradients that are zero except for rounding have no separate scale. They are compared with the largest
 * gradient of the case.
 */
const SCALE_FLOOR = 1e-3;
/** Relative tolerances; see trajectory.spec.ts. */
const [LOSS, NORM, FINAL] = [2e-5, 2e-4, 1e-3];

type Config = { readonly peft_type: string; readonly [field: string]: unknown };
type Tolerance = Readonly<Record<'hidden' | 'logits' | 'loss' | 'gradients', number>>;

const pairs = Object.keys(SPOKEN).flatMap((of) =>
  bases.filter((family) => casesOf(family, of).length > 0).map((family) => [of, family] as const),
);
const configOf = (family: string, name: string): Config | null =>
  name.endsWith('-full') || name.endsWith('-none')
    ? null
    : json<Config>(family, name, 'adapter_config.json');

const headFor = (of: string, options: Options) => headOf({ task: of, task_options: options });

const attach = (
  { of, model, options }: Pick<Compared, 'of' | 'model' | 'options'>,
  peft: Config | null,
  seed = 0,
): Adapter => attachMethod(model, peft, { run: RUN, seed, head: headFor(of, options) });

function gradientsOf(adapter: Adapter): Map<string, Float32Array> {
  return new Map(
    [...adapter.parameters]
      .filter(([key]) => !isHidden(key))
      .map(([key, parameter]) => {
        const found = floats(parameter.grad!);
        parameter.zeroGrad();
        return [key, found] as const;
      }),
  );
}

interface Facts {
  readonly options?: Options;
  readonly bf16_against_f32?: Readonly<Record<string, number>>;
}

interface Compared {
  readonly of: string;
  readonly model: Model;
  readonly batch: readonly Spoken[];
  readonly options: Options;
}

function compare(
  { of, model, batch, options }: Compared,
  golden: ReadonlyMap<string, Float32Array>,
  adapter: Adapter | null,
  tolerance: Tolerance = { hidden: F32, logits: F32, loss: F32, gradients: F32 },
): void {
  tidy(() => {
    const { hidden, logits, loss } = SPOKEN[of]!.made(model, RUN, batch, options);
    const near = (name: string, ours: Float32Array, most: number): void => {
      const theirs = golden.get(name)!;
      expect(ours.length, name).toBe(theirs.length);
      expect(difference(ours, theirs) / largest(theirs), name).toBeLessThan(most);
    };
    for (const [stack, rows] of hidden) near(stack, floats(rows), tolerance.hidden);
    near('logits', floats(logits), tolerance.logits);
    near('loss', Float32Array.of(loss.item()), tolerance.loss);
    const wants = adapter !== null;
    near(
      'loss',
      Float32Array.of(taskLoss(of, model, RUN, batch, { wants, options })),
      tolerance.loss,
    );
    if (!adapter) return;
    const theirs = new Map(
      [...golden]
        .filter(([key]) => key.startsWith('grad.'))
        .map(([key, value]) => [ourName(key.slice(5)), value]),
    );
    const ours = gradientsOf(adapter);
    expect([...ours.keys()].sort()).toEqual([...theirs.keys()].sort());
    const top = Math.max(...[...theirs.values()].map(largest));
    for (const [key, gradient] of theirs) {
      const scale = Math.max(largest(gradient), SCALE_FLOOR * top);
      expect(difference(ours.get(key)!, gradient) / scale, key).toBeLessThan(tolerance.gradients);
    }
  });
}

const listed = (value: unknown): unknown =>
  Array.isArray(value) ? [...new Set(value as unknown[])].sort() : value;

/**
 * Checks that the files equal PEFT's: the same tensors, and the same config except for the order of lists.
 */
function compareFiles(
  adapter: Adapter,
  peft: Config,
  { of, family, name }: { of: string; family: string; name: string },
): void {
  const dir = mkdtempSync(join(tmpdir(), 'graft-golden-'));
  try {
    const config = json<HfConfig>(family, 'base', 'config.json');
    const base = { config, tokenizerFiles: null as never };
    const { options = {} } = json<Facts>(family, name, 'golden.json');
    const head = headFilesOf({ task: of, task_options: options });
    const files = writeAdapter(dir, adapter, { base, baseName: '', peft, task: taskFor(of).peft, ...head }); // prettier-ignore
    expect(files.includes('vocab.json')).toBe('letters' in options);
    expect(storedCharacters(dir)).toEqual(options['letters'] ?? null);
    const ours = values(join(relative(HERE, dir), 'adapter_model.safetensors'));
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
  } finally {
    rmSync(dir, { recursive: true });
  }
}

beforeAll(() => setThreads(1));

it('has goldens of every task, the bare base and custom vocabularies', () => {
  expect(new Set(pairs.map(([of]) => of))).toEqual(new Set(Object.keys(SPOKEN)));
  const all = pairs.flatMap(([of, family]) => casesOf(family, of).map((name) => `${family}/${name}`)); // prettier-ignore
  for (const one of [
    'whisper/speech-none',
    'wav2vec2-ctc/ctc-none',
    'wav2vec2-letterless/ctc-letters',
    'wav2vec2-ctc/ctc-letters',
  ])
    // prettier-ignore
    expect(all).toContain(one);
});

describe.each(pairs)('%s on %s', (of, family) => {
  const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
  const config = json<HfConfig>(family, 'base', 'config.json');
  const open = (
    dtype: 'f32' | 'bf16',
    tensors: ReadonlyMap<string, unknown> = file.tensors,
  ): Model => buildModel(config, tensors as typeof file.tensors, { dtype, quantization: null });
  const batches = json<Spoken[][]>(family, 'sounds.json');
  const batch = batches[0]!;
  let model: Model;

  beforeAll(() => void (model = open('f32')));
  afterAll(() => {
    model.dispose();
    file.close();
  });

  const adapted = (on: Model, name: string, act: (adapter: Adapter) => void): void => {
    const peft = configOf(family, name);
    const adapter = attach(given(name, on), peft);
    try {
      if (peft) begin(adapter, join(family, name, 'initial.safetensors'));
      act(adapter);
    } finally {
      adapter.detach();
    }
  };
  const cases = casesOf(family, of);
  const trained = cases.filter((name) => !name.endsWith('-none'));
  const facts = (name: string): Facts => json<Facts>(family, name, 'golden.json');
  const given = (name: string, on = model): Compared => {
    const { options = {} } = facts(name);
    return { of, model: on, batch, options };
  };
  const logitsOf = (on: Model, name: string): Float32Array =>
    tidy(() => floats(SPOKEN[of]!.made(on, RUN, batch, given(name).options).logits));

  it('accepts audio, and rejects other input', () => {
    expect(model.inputKind).toBe('audio');
    expect(model.inputRows(batch[0]!.size)).toBeGreaterThan(1);
    expect(() => model.inputRows([6, 4])).toThrow(
      /expected (audio|a spectrogram) of .*, got 6 × 4/,
    );
  });

  const bare = cases.filter((name) => name.endsWith('-none'));
  it.each(bare)('the bare base, %s', (name) =>
    compare(given(name), values(join(family, name, 'golden.safetensors')), null),
  );

  it.each(trained)('%s', (name) => {
    const golden = values(join(family, name, 'golden.safetensors'));
    const peft = configOf(family, name);
    adapted(model, name, (adapter) => {
      const count = [...adapter.parameters.values()].reduce((sum, { size }) => sum + size, 0);
      const head = headFor(of, given(name).options);
      const footprint = footprintOf(peft, config, false, head);
      expect(footprint.trainableParameters).toBe(count);
      if (!head) expect(footprint.totalParameters).toBe(model.parameterCount);
      compare(given(name), golden, adapter);
      if (peft) compareFiles(adapter, peft, { of, family, name });
      const merged = golden.get('merged_logits');
      if (!merged) return;
      const other = open('f32', new Map([...file.tensors, ...(adapter.merged?.() ?? [])]));
      const logits = logitsOf(other, name).subarray(0, merged.length);
      expect(difference(logits, merged) / largest(merged), 'merged').toBeLessThan(F32);
      other.dispose();
    });
  });

  it.each(trained.filter((name) => configOf(family, name)))(
    "%s: PEFT's file yields its logits",
    (name) => {
      const stored = readAdapter(join(HERE, family, name));
      const adapter = attach(given(name), stored.peft as Config, 1);
      try {
        tidy(() => adapter.load(stored.tensors));
        const wanted = values(join(family, name, 'golden.safetensors')).get('logits')!;
        expect(difference(logitsOf(model, name), wanted) / largest(wanted)).toBeLessThan(F32);
      } finally {
        adapter.detach();
        stored.dispose();
      }
    },
  );

  it.each(trained)('%s: each step', (name) => {
    const { settings, learning_rates: rates, ...golden } = json<Trajectory>(family, name, 'trajectory.json'); // prettier-ignore
    adapted(model, name, (adapter) => {
      const optimizer = new AdamW(adapter.parameters, {
        weightDecay: settings.weight_decay,
        decays: () => true,
      });
      const [losses, norms]: [number[], number[]] = [[], []];
      for (let step = 0; step < settings.steps; step++) {
        const how = { wants: true, options: given(name).options };
        const loss = tidy(() => taskLoss(of, model, RUN, batches[step % batches.length]!, how));
        losses.push(loss);
        norms.push(optimizer.clip(settings.max_grad_norm));
        optimizer.step(rates[step]!);
      }
      optimizer.dispose();
      expect(worst(losses, golden.losses)).toBeLessThan(LOSS);
      expect(worst(norms, golden.grad_norms)).toBeLessThan(NORM);
      if (!configOf(family, name)) return;
      const { tensors, close } = readNamed(join(family, name, 'final.safetensors'));
      for (const [key, parameter] of adapter.parameters) {
        if (isHidden(key)) continue;
        const theirs = floats(tensors.get(key)!);
        const scale = Math.max(largest(theirs), 1e-12);
        expect(difference(floats(parameter), theirs) / scale, key).toBeLessThan(FINAL);
      }
      close();
    });
  });

  it.each(cases.filter((name) => facts(name).bf16_against_f32))('%s in bf16', (name) => {
    const half = open('bf16');
    const apart = facts(name).bf16_against_f32!;
    const golden = values(join(family, name, 'golden-bf16.safetensors'));
    const tolerance = {
      hidden: 2 * Math.max(apart['encoder']!, apart['decoder'] ?? 0),
      logits: 2 * apart['logits']!,
      loss: Math.max(2 * apart['loss']!, 5e-3),
      gradients: 2 * apart['gradients']!,
    };
    adapted(half, name, (adapter) => compare(given(name, half), golden, adapter, tolerance));
    half.dispose();
  });
});
