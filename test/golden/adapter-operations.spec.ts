// Weighted combinations of LoRA adapters, and conversions of other adapters to LoRA, equal PEFT's. The sign
// of singular vectors is arbitrary, so the products of the factors are compared. Same measure as in
// golden.spec.ts.
import { join } from 'node:path';
import { mapSafetensors, matmul, setThreads, tidy, type Tensor } from '@graft/kernels';
import {
  attachMethod,
  buildModel,
  combineAdapters,
  convertToLora,
  readAdapter,
  type AdapterFile,
  type Converted,
  type HfConfig,
  type Model,
} from '@graft/peft-core';
import { Combination, Conversion, DomainError } from '@graft/contracts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { difference, floats, HERE, json, largest } from './golden-case.js';

const FOLDER = 'adapter-operations';
const F32 = 1e-4;
const RUN = 3;

interface Facts {
  readonly seed: number;
  readonly threshold: number;
  readonly combinations: Readonly<
    Record<
      string,
      {
        readonly adapters: readonly string[];
        readonly weights: readonly number[];
        readonly made: Readonly<Record<'r' | 'lora_alpha' | 'target_modules', unknown>>;
      }
    >
  >;
  readonly conversions: Readonly<
    Record<string, { readonly rank: number; readonly ranks: Record<string, number> | null }>
  >;
}
const facts = json<Facts>(FOLDER, 'golden.json');

const bases = new Map<string, { model: Model; close: () => void }>();

function baseOf(family: string): Model {
  const known = bases.get(family);
  if (known) return known.model;
  const file = mapSafetensors(join(HERE, family, 'base/model.safetensors'));
  const model = buildModel(json<HfConfig>(family, 'base', 'config.json'), file.tensors, {
    dtype: 'f32',
    quantization: null,
  });
  bases.set(family, { model, close: () => file.close() });
  return model;
}

beforeAll(() => setThreads(1));
afterAll(() => {
  for (const { model, close } of bases.values()) {
    model.dispose();
    close();
  }
});

/** B·A of each module, by path. */
function products(tensors: ReadonlyMap<string, Tensor>): Map<string, Float32Array> {
  const found = new Map<string, Float32Array>();
  for (const [name, a] of tensors) {
    const [, path, table = ''] = /^(.+)\.lora_(embedding_)?A$/.exec(name) ?? [];
    if (path === undefined) continue;
    const b = tensors.get(`${path}.lora_${table}B`) as Tensor;
    found.set(
      path,
      tidy(() => floats(matmul(b, a))),
    );
  }
  return found;
}

/** Returns B·A of each module in a file that PEFT wrote. */
function golden(file: string, inside: (name: string) => string): Map<string, Float32Array> {
  const { tensors, close } = mapSafetensors(join(HERE, FOLDER, `${file}.safetensors`));
  const ours = new Map([...tensors].map(([name, tensor]) => [inside(name), tensor]));
  const found = products(ours);
  close();
  return found;
}

function expectEqual(
  ours: ReadonlyMap<string, Float32Array>,
  theirs: ReadonlyMap<string, Float32Array>,
): void {
  expect([...ours.keys()].sort()).toEqual([...theirs.keys()].sort());
  for (const [path, product] of theirs)
    expect(
      difference(ours.get(path) as Float32Array, product) / largest(product),
      path,
    ).toBeLessThan(F32);
}

/** Checks that an attached adapter produces the updates in its file. */
function expectAttaches(family: string, { peft, tensors }: AdapterFile): void {
  const adapter = attachMethod(baseOf(family), peft, { run: RUN, seed: 1 });
  try {
    adapter.load(tensors);
    expect(adapter.resolvedConfig()).toMatchObject({ r: peft['r'], use_rslora: false });
    const own = [...(adapter.updates?.() ?? [])];
    const expected = products(tensors);
    for (const { path, update } of own)
      expect(difference(floats(update), expected.get(path) as Float32Array), path).toBeLessThan(
        F32 * Math.max(1, largest(expected.get(path) as Float32Array)),
      );
  } finally {
    adapter.detach();
  }
}

describe('combinations', () => {
  it.each(Object.entries(facts.combinations))('%s', (name, { adapters, made, ...asked }) => {
    const [type] = name.split('-') as [string];
    const seed = type.startsWith('dare') ? { seed: facts.seed } : {};
    const how = Combination.parse({ ...asked, ...seed, combination_type: type });
    const sources = adapters.map((letter) => readAdapter(join(HERE, FOLDER, letter)));
    const combined = combineAdapters(sources, how);
    const theirs = golden(name, (inFile) => inFile.replace(/\.([AB])$/, '.lora_$1'));
    expectEqual(products(combined.tensors), theirs);
    expect(combined.peft).toMatchObject(made);
    expectAttaches('llama', combined);
    for (const source of sources) source.dispose();
  });

  const read = (letter: string): AdapterFile => readAdapter(join(HERE, FOLDER, letter));
  const [a, c] = [read('a'), read('c')];
  const refusal = (adapters: readonly AdapterFile[], asked: object): unknown => {
    try {
      combineAdapters(adapters, Combination.parse(asked));
      return null;
    } catch (error) {
      return error instanceof DomainError ? error.message : error;
    }
  };
  it.each([
    [
      'LOHA',
      'llama/loha',
      'adapters[1]: LOHA does not support weighted combination; convert it to LORA first',
    ],
    ['DoRA', 'llama/lora-dora', 'adapters[1]: use_dora does not support weighted combination'],
    [
      'whole modules',
      'llama/lora-saved-head',
      'adapters[1]: modules_to_save (lm_head) are whole modules',
    ],
    [
      'PiSSA',
      'llama/lora-pissa',
      'adapters[1]: init_lora_weights "pissa" is for a base from which',
    ],
    [
      'LoftQ',
      'starts/loftq',
      'adapters[1]: init_lora_weights "loftq" was trained on a quantized base',
    ],
    ['token rows', 'llama/lora-tokens', 'adapters[1]: trainable_token_indices are whole rows'],
    [
      'a head',
      'llama/cls-lora',
      'adapters[1]: modules_to_save (classifier, score) are whole modules',
    ],
  ])('rejects %s and names its position in the list', (_, dir, message) => {
    const other = readAdapter(join(HERE, dir));
    expect(refusal([a, other], { weights: [1, 1], combination_type: 'cat' })).toContain(message);
    other.dispose();
  });

  it('reports incompatible ranks and a wrong number of weights', () => {
    expect(refusal([a, c], { weights: [1, 1], combination_type: 'linear' })).toContain(
      'adapters[1]: has rank 3, adapters[0] has 4: "linear" needs equal ranks',
    );
    expect(refusal([a, c], { weights: [1] })).toContain('weights: expected 2');
    expect(refusal([a, c], { weights: [1, 1], svd_rank: 17 })).toContain(
      'svd_rank: expected at most 16',
    );
  });
});

describe('conversions', () => {
  const inside = (name: string): string =>
    name.replace(/^base_model\.model\./, '').replace(/\.lora_([AB])\.weight$/, '.lora_$1');

  /** Runs `look` on the result of a conversion while the source adapter is attached. */
  function convert<T>(dir: string, how: object, look: (made: Converted) => T): T {
    const source = readAdapter(join(HERE, dir));
    const model = baseOf(dir.split('/')[0] as string);
    const adapter = attachMethod(model, source.peft, { run: RUN, seed: 1 });
    try {
      adapter.load(source.tensors);
      return look(convertToLora(adapter, source.peft, Conversion.parse(how)));
    } finally {
      adapter.detach();
      source.dispose();
    }
  }

  it.each(Object.entries(facts.conversions))('%s', (dir, { rank, ranks }) => {
    convert(dir, { rank }, (made) => {
      expectEqual(products(made.tensors), golden(dir.replaceAll('/', '-'), inside));
      expect(made.peft['r']).toBe(rank);
    });
    if (ranks)
      convert(dir, { energy: facts.threshold }, ({ peft }) =>
        expect(peft['rank_pattern']).toEqual(ranks),
      );
  });

  it.each(['llama/loha', 'llama/lora-saved-head'])('%s: attaches the converted LoRA', (dir) =>
    convert(dir, { rank: 4 }, (made) => expectAttaches('llama', made)),
  );

  it('reports the error of each module and of all', () => {
    const lost = convert('llama/loha', { rank: 2 }, ({ modules, error }) => {
      for (const module of modules) expect(module).toMatchObject({ rank: 2 });
      const errors = modules.map((module) => module.error);
      expect(error).toBeGreaterThan(Math.min(...errors));
      expect(error).toBeLessThan(Math.max(...errors));
      return error;
    });
    const more = convert('llama/loha', { rank: 8 }, ({ error }) => error);
    expect(more).toBeLessThan(lost);
    const within = convert('llama/loha', { energy: 0.99 }, ({ error }) => error);
    expect(within).toBeLessThan(Math.sqrt(1 - 0.99));
    expect(convert('llama/loha', { energy: 1 }, ({ error }) => error)).toBeLessThan(1e-3);
  });

  const refusal = (dir: string, how: object): string => {
    try {
      return convert(dir, how, () => 'taken');
    } catch (error) {
      return (error as Error).message;
    }
  };
  it.each([
    ['llama/ia3', { rank: 2 }, 'IA3 cannot be converted to LORA, as in PEFT'],
    ['llama/hira', { rank: 2 }, 'HIRA cannot be converted'],
    ['llama/lora-kasa', { rank: 2 }, 'kasa_config cannot be converted'],
    ['llama/lora-tokens', { rank: 2 }, 'trainable_token_indices'],
    ['mixtral/lora-experts', { rank: 2 }, 'cannot be converted to LORA, as in PEFT'],
    ['llama/lora-embedding', { rank: 2 }, 'not embeddings'],
    ['llama/prompt', { rank: 2 }, 'PROMPT_TUNING cannot be converted'],
    ['llama/loha', { rank: 33 }, 'expected at most'],
    ['llama/loha', {}, 'set rank or energy'],
    ['llama/loha', { rank: 2, energy: 0.5 }, 'not both'],
  ])('%s, %o is refused', (dir, how, message) => expect(refusal(dir, how)).toContain(message));
});
