// Every base that has goldens for a task with a head, or for CTC, with every method: all trainable parameters
// get gradients, files can be loaded again, and methods that PEFT does not support are rejected. Runs with
// different labels that share a base produce the same as alone. In the default tier, a method alone is tested
// on bases of different kinds (covering.ts), and in one batch with all other methods on every base.
import { join } from 'node:path';
import { keep, mapSafetensors, mul, noGrad, Recomputation, setThreads, tidy } from '@graft/kernels';
import {
  attachMethod,
  buildModel,
  methods,
  outlineOf,
  type Adapter,
  type HeadRequest,
  type HfConfig,
  type Model,
} from '@graft/peft-core';
import { catalog, footprintOf, headOf } from '@graft/peft-core/catalog';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isAllTier } from '../tier.js';
import { covering } from './covering.js';
import {
  casesOf,
  difference,
  expectSameBits,
  familiesOf,
  floats,
  HERE,
  json,
  largest,
} from './golden-case.js';
import {
  configOf,
  HEAD_TASKS,
  audioExample,
  isHidden,
  isUnmoved,
  logitsOf,
  imageExample,
  ctcExample,
  task,
  windowed,
  type Config,
  type LabelledExample,
} from './heads.js';
import { kindOfBase, kindOfConfig } from './matrix-kinds.js';
import type { ImageRecord } from './image-records.js';
import { stir } from './stir.js';

/** Fields of a golden's config that depend on its base, not on the method. */
const OF_BASE =
  /^(auto_mapping|base_model_name_or_path|inference_mode|peft_version|revision|task_type|.*_modules|modules_to_save|layers_.*|.*_pattern|num_layers|token_dim|num_attention_heads|num_transformer_submodules)$/;

/**
 * Options for methods made for far larger weights. With their defaults, the update saturates the attention's
 * softmax here, which then amplifies rounding.
 */
const SMALLER: Readonly<Record<string, object>> = { FOURIERFT: { scaling: 10 } };

/** Defaults of each method, or the options of its goldens if the defaults do not fit such a small base. */
function configsFor(config: HfConfig): (Config | null)[] {
  const fits = (peft: Config): boolean => {
    try {
      footprintOf(peft, config);
      return true;
    } catch (error) {
      return (error as { code?: string }).code === 'unsupported';
    }
  };
  return methods.map(({ name }) => {
    const peft = { peft_type: name, ...SMALLER[name] };
    if (name === 'FULL') return null;
    if (fits(peft)) return peft;
    return GOLDEN.filter(({ peft_type }) => peft_type === name).find(fits) ?? peft;
  });
}

const GOLDEN = casesOf('llama').flatMap((name): Config[] => {
  const peft = configOf('llama', name);
  if (!peft) return [];
  const own = Object.entries(peft).filter(([field]) => !OF_BASE.test(field));
  return [Object.fromEntries(own) as Config];
});

const EXTRA: readonly Config[] = [
  { peft_type: 'LORA', r: 2, target_modules: 'all-linear', lora_dropout: 0.1 },
];
/**
 * Tolerances. Products of different sizes are summed in different orders (matrix.spec.ts). Largest measured
 * difference of gradients: 2.13e-5, FourierFT on ALBERT with GRAFT_ISA=generic, where the gradients of all
 * layers are summed in twelve frequencies.
 */
const SAME = { logits: 6e-6, gradients: 2.5e-5 };
const tokenize = (text: string): number[] => [...text].map((letter) => letter.charCodeAt(0) % 90);

function sequences(salt: number, lengths: readonly number[], target: number): LabelledExample[] {
  return lengths.map((length, i) => {
    const tokens = Int32Array.from({ length }, (_, j) => 3 + ((j * 37 + i * 11 + salt * 53) % 80));
    const types = Int32Array.from({ length }, (_, j) => Number(j > length / 2));
    const word = { words: ['w'], read: Int32Array.of(0), places: Int32Array.of(length - 1) };
    const wanted = { target: Float64Array.of((i + target) % 2), rows: length, tokenCount: length };
    return { ...windowed({ tokens, types, ...wanted }), ...word };
  });
}

/** Images of one run. If the base accepts any size, they have several sizes. */
function images(salt: number, count: number, target: number, config: HfConfig): LabelledExample[] {
  const [channels, height, width] = imageShape(config);
  const varies = config.model_type.startsWith('dinov2');
  return Array.from({ length: count }, (_, i) =>
    imageExample(
      { picture: salt * 7 + i, size: [channels, height + (varies ? 4 * (i % 2) : 0), width] },
      Float64Array.of((i + target) % 2),
      config,
    ),
  );
}

/**
 * Audio clips of one run, as long as those of the base's goldens. For CTC, the targets have a repeated
 * letter.
 */
function clips(
  salt: number,
  count: number,
  target: number,
  { family, isSpelt }: { readonly family: string; readonly isSpelt: boolean },
): LabelledExample[] {
  const config = json<HfConfig>(family, 'base', 'config.json');
  const [records] = json<Pick<ImageRecord, 'size'>[][]>(family, 'sounds.json');
  return Array.from({ length: count }, (_, i) => {
    const { size } = records![i % records!.length]!;
    const record = { picture: salt * 7 + i, size };
    return isSpelt
      ? ctcExample(record, Int32Array.of(1 + ((i + target) % 5), 3, 3, 2), config)
      : audioExample(record, Float64Array.of((i + target) % 2), config);
  });
}

function imageShape(config: HfConfig): [number, number, number] {
  const { image_size: size, num_channels: channels } = {
    ...config,
    ...(config['vision_config'] as object | undefined),
  } as Record<string, unknown>;
  const [height, width = height] = [size].flat() as number[];
  return [channels as number, height!, width!];
}

const namesOf = (count: number): string[] => Array.from({ length: count }, (_, i) => `l${i}`);

/** Vocabulary of a run: its labels and four more letters, because a target uses the first six tokens. */
const vocabularyOf = (count: number): string[] => [...'abcd', ...'efghij'.slice(0, count)];

interface Share {
  readonly run: number;
  readonly adapter: Adapter;
  readonly labels: number;
}

/** Gradients of each run's loss, all in one forward pass. */
function gradientsOf(
  of: string,
  model: Model,
  shares: readonly Share[],
  examplesOf: (salt: number, lengths: readonly number[], target: number) => LabelledExample[],
  recomputation?: Recomputation,
) {
  const ctx = {
    training: true,
    recomputation,
    runs: new Map(shares.map(({ run }) => [run, { seed: run, step: 1 }])),
  };
  const scales = new Map(shares.map(({ run }) => [run, 1]));
  const given = shares.map(({ run, labels }) => ({
    run,
    examples: examplesOf(run, [5 + (run % 7), 8], run),
    options: {
      problem_type: 'single_label_classification',
      labels: namesOf(labels),
      ctc_loss_reduction: 'mean',
      ...(of === 'ctc' && model.ctc === null && { letters: vocabularyOf(labels) }),
    },
  }));
  tidy(() => task(of).loss(model, given, ctx, scales));
  return new Map(
    shares.map(({ run, adapter }) => [
      run,
      new Map(
        [...adapter.parameters]
          .filter(([name]) => !isHidden(name))
          .map(([name, parameter]) => {
            const found = floats(parameter.grad!);
            parameter.zeroGrad();
            return [name, found] as const;
          }),
      ),
    ]),
  );
}

/** Checks that recomputing layers in the backward pass changes no bit. */
function expectSameRecomputed(
  usual: ReturnType<typeof gradientsOf>,
  ...[of, model, shares, examplesOf]: Parameters<typeof gradientsOf>
): void {
  const recomputation = new Recomputation();
  const found = gradientsOf(of, model, shares, examplesOf, recomputation);
  recomputation.dispose();
  expect([...found.keys()]).toEqual([...usual.keys()]);
  for (const [run, gradients] of usual) expectSameBits(found.get(run)!, gradients);
}

beforeAll(() => setThreads(1));

/** Bases whose differences are covered by another base with the same stack. */
const ALIKE = [
  'deit',
  'dinov2-gated',
  'dinov2-registers',
  'whisper-labels',
  'wav2vec2-stable-sum',
  'whisper-labels-sum',
];
const pairs = [...HEAD_TASKS, 'ctc'].flatMap((of) =>
  familiesOf(of)
    .filter((family) => !ALIKE.includes(family))
    .map((family) => [of, family] as const),
);

const configOfBase = (family: string): HfConfig => json<HfConfig>(family, 'base', 'config.json');

/** Head of a run on a base. @param labels number of labels */
function headFor(of: string, config: HfConfig, labels = 3): HeadRequest | null {
  const kind = outlineOf(config).ctc ? undefined : task(of).head?.kind;
  if (kind === 'ctc') return headOf({ task: of, task_options: { letters: vocabularyOf(labels) } });
  return kind ? { kind, outputs: kind === 'span' ? 2 : labels } : null;
}

function isRefused(peft: Config | null, of: string, config: HfConfig): boolean {
  try {
    footprintOf(peft, config, false, headFor(of, config));
    return false;
  } catch (error) {
    if ((error as { code?: string }).code === 'unsupported') return true;
    throw error;
  }
}

interface Row {
  readonly row: string;
  readonly peft: Config | null;
  readonly isRefused: boolean;
}

/** Rows of the matrix for each task and base. Their configs differ if the defaults do not fit a base. */
const ROWS: ReadonlyMap<string, readonly Row[]> = new Map(
  pairs.map(([of, family]) => {
    const config = configOfBase(family);
    const own = [...configsFor(config), ...EXTRA];
    const rows = own.map((peft, i): Row => {
      const name = peft?.peft_type ?? 'FULL';
      const row = i < methods.length ? name : `${name}, variant ${i - methods.length}`;
      return { row, peft, isRefused: isRefused(peft, of, config) };
    });
    return [`${of} on ${family}`, rows] as const;
  }),
);
const rowsOf = (place: string): readonly Row[] => ROWS.get(place) ?? [];
/**
 * Cases that run alone. In the default tier these are a selection; the other cases run in the batch of all
 * methods.
 */
const runsAlone = isAllTier
  ? () => true
  : covering({
      rows: [...ROWS.values()][0]!.map(({ row, peft }) => ({
        name: row,
        kind: kindOfConfig(peft),
      })),
      columns: pairs.map(([of, family]) => ({
        name: `${of} on ${family}`,
        // the CTC loss covers all rows
        kind: `${of === 'ctc' ? 'ctc, ' : ''}${kindOfBase(family)}`,
      })),
      has: (name, place) => rowsOf(place).some(({ row, isRefused: not }) => row === name && !not),
    });

describe.each(pairs)('%s on %s', (of, family) => {
  const config = configOfBase(family);
  const { tasks: known } = catalog();
  let model: Model;
  let close: () => void;

  beforeAll(() => {
    const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
    model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
    close = () => {
      model.dispose();
      file.close();
    };
  });
  afterAll(() => close());

  const examplesOf = (
    salt: number,
    lengths: readonly number[],
    target: number,
  ): LabelledExample[] => {
    if (model.inputKind === 'image') return images(salt, lengths.length, target, config);
    if (model.inputKind === 'audio')
      return clips(salt, lengths.length, target, { family, isSpelt: of === 'ctc' });
    return sequences(salt, lengths, target);
  };
  const head = (labels = 3): HeadRequest | null => headFor(of, config, labels);
  const attach = (peft: Config | null, run: number, labels = 3): Adapter => {
    const adapter = attachMethod(model, peft, { run, seed: run, tokenize, head: head(labels) });
    stir(adapter);
    return adapter;
  };
  const all = rowsOf(`${of} on ${family}`);
  const usable = all.filter((one) => !one.isRefused).map(({ peft }) => peft);
  const alone = all.filter((one) => !one.isRefused && runsAlone(one.row, `${of} on ${family}`));
  const title = (peft: Config | null): string => JSON.stringify(peft);

  it('is known to the catalogue', () => expect(known.map(({ name }) => name)).toContain(of));

  it.each(all.filter((one) => one.isRefused).map(({ peft }) => [title(peft), peft] as const))(
    'rejects %s',
    (_, peft) =>
      expect(() => attach(peft, 1)).toThrow(
        expect.objectContaining({ code: 'unsupported', param: 'peft.peft_type' }),
      ),
  );

  it.each(alone.map(({ peft }) => [title(peft), peft] as const))(
    '%s: trains every parameter, and loads its file',
    (_, peft) => {
      const count = ({ parameters }: Adapter): number =>
        [...parameters.values()].reduce((total, { size }) => total + size, 0);
      const adapter = attach(peft, 1);
      expect(count(adapter)).toBe(footprintOf(peft, config, false, head()).trainableParameters);
      for (const [name, found] of gradientsOf(
        of,
        model,
        [{ run: 1, adapter, labels: 3 }],
        examplesOf,
      ).get(1)!)
        if (!isUnmoved(of, name)) expect(largest(found), name).toBeGreaterThan(0);
      const shown = examplesOf(4, [9, 6], 0);
      const before = logitsOf(model, 1, shown);
      const saved = tidy(
        () =>
          new Map(
            [...adapter.exported()].map(([name, tensor]) => [
              name,
              keep(noGrad(() => mul(tensor, 1)).detach()),
            ]),
          ),
      );
      adapter.detach();
      const again = attachMethod(model, peft, { run: 1, seed: 99, tokenize, head: head() });
      again.load(saved);
      saved.forEach((tensor) => tensor.dispose());
      expect(difference(logitsOf(model, 1, shown), before)).toBeLessThan(1e-6 * largest(before));
      again.detach();
      expect(model.modules.heads.size).toBe(0);
    },
  );

  it('runs of all methods in one batch, with different labels, equal each alone, and recomputed', () => {
    const shares = usable.map((peft, i): Share => {
      const labels = 2 + (i % 4);
      return { run: i + 1, adapter: attach(peft, i + 1, labels), labels };
    });
    try {
      const together = gradientsOf(of, model, shares, examplesOf);
      expectSameRecomputed(together, of, model, shares, examplesOf);
      for (const share of shares) {
        const own = gradientsOf(of, model, [share], examplesOf);
        // in the default tier only once, for all methods together
        if (isAllTier) expectSameRecomputed(own, of, model, [share], examplesOf);
        const alone = own.get(share.run)!;
        const top = Math.max(...[...alone.values()].map(largest));
        for (const [name, gradient] of alone) {
          if (isUnmoved(of, name)) continue;
          const scale = Math.max(largest(gradient), 1e-2 * top);
          const apart = difference(together.get(share.run)!.get(name)!, gradient) / scale;
          expect(apart, `${title(usable[share.run - 1]!)} ${name}`).toBeLessThan(SAME.gradients);
        }
      }
    } finally {
      shares.forEach(({ adapter }) => adapter.detach());
    }
  });
});
