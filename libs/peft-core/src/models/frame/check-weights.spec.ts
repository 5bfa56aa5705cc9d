// The import check and the loader reject the same files, for each tensor of each golden base model: with the
// tensor
// missing, and with another shape.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  cat,
  mapSafetensors,
  narrow,
  quantizeInt8,
  quantizeNf4,
  reshape,
  tensor,
  tidy,
  to,
  type Tensor,
} from '@graft/kernels';
import { afterAll, describe, expect, it } from 'vitest';
import { writeGgufModel } from '../../adapters/export-gguf.js';
import { wholeWeights } from '../../adapters/merge.js';
import { loadBase } from '../../io/base/base-folder.js';
import { inspectModelFolder } from '../../io/base/inspect.js';
import { fullNames } from '../../io/base/weight-files.js';
import { quantizers } from '../../quant/registry.js';
import { weightProblems } from './check-weights.js';
import { isAllTier } from '../../../../../test/tier.js';
import type { HfConfig } from '../../nn/hf-files.js';
import { buildModel, models, outlineOf } from '../registry.js';

const GOLDENS = join(import.meta.dirname, '../../../../../test/golden');
const bases = readdirSync(GOLDENS).filter((name) =>
  existsSync(join(GOLDENS, name, 'base', 'model.safetensors')),
);
const configOf = (name: string): HfConfig =>
  JSON.parse(readFileSync(join(GOLDENS, name, 'base', 'config.json'), 'utf8')) as HfConfig;

type Tensors = ReadonlyMap<string, Tensor>;

/** Returns the loader's error, or null if it accepts the files. */
function refusal(config: HfConfig, tensors: Tensors): string | null {
  try {
    buildModel(config, tensors, { dtype: 'f32', quantization: null }).dispose();
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

const without = (tensors: Tensors, name: string): Tensors =>
  new Map([...tensors].filter(([other]) => other !== name));
const withRow = (tensors: Tensors, name: string): Tensors => {
  const found = tensors.get(name) as Tensor;
  const longer = found.shape.length === 0 ? found : cat([found, narrow(found, 0, 0, 1)]);
  return new Map(tensors).set(name, longer);
};

/** Metadata of 4-bit and 8-bit weights, whose content only the loader reads. */
const READ_LATER = /\.(absmax|nested_absmax|quant_state\.bitsandbytes__nf4|weight_format)$/;

/**
 * Returns the tensors to test. The default tier tests tensors that recur per layer or expert only in the
 * first one.
 */
function tried(tensors: Tensors): string[] {
  const names = [...tensors.keys()];
  const kindOf = (name: string): string => name.replaceAll(/\.\d+(?=\.)/g, '.#');
  const first = new Map(names.toReversed().map((name) => [kindOf(name), name]));
  return names.filter((name) => isAllTier || first.get(kindOf(name)) === name);
}

/** Tests each tensor missing and each with an extra row. Returns how many of them the model requires. */
function needed(config: HfConfig, tensors: Tensors, names = [...tensors.keys()]): number {
  expect(weightProblems(config, tensors)).toEqual({
    first: null,
    others: 0,
    isCut: false,
    kind: null,
  });
  expect(refusal(config, tensors)).toBeNull();
  let count = 0;
  for (const name of names)
    tidy(() => {
      const less = without(tensors, name);
      const { first: found } = weightProblems(config, less);
      const expected = refusal(config, less);
      if (READ_LATER.test(name)) expect(found === null, `without ${name}`).toBe(expected === null);
      else expect(found, `without ${name}`).toBe(expected);
      if (found !== null) count++;
      if (READ_LATER.test(name)) return;
      const other = withRow(tensors, name);
      const wanted = refusal(config, other);
      expect(weightProblems(config, other).first, `${name} with a row more`).toBe(wanted);
    });
  return count;
}

describe('golden base models are accepted, and rejected where the loader rejects them', () => {
  it('include every family', () => {
    const types = new Set(bases.map((name) => configOf(name).model_type));
    for (const { name, modelTypes } of models)
      expect(
        modelTypes.some((type) => types.has(type)),
        name,
      ).toBe(true);
  });

  it.each(bases)('%s', (name) => {
    const file = mapSafetensors(join(GOLDENS, name, 'base', 'model.safetensors'));
    try {
      const tensors = fullNames(file.tensors);
      const names = tried(tensors);
      // SigLIP's files include the text tower, which is not required
      expect(needed(configOf(name), tensors, names)).toBeGreaterThan(0.4 * names.length);
    } finally {
      file.close();
    }
  });

  it('count a tensor of two modules once, by its name in files', () => {
    const file = mapSafetensors(join(GOLDENS, 'dinov2-gated', 'base', 'model.safetensors'));
    try {
      const missing = 'encoder.layer.0.mlp.weights_in.weight';
      const name = [...file.tensors.keys()].find((one) => one.endsWith(missing)) as string;
      const found = weightProblems(configOf('dinov2-gated'), without(file.tensors, name));
      const first = `the model's files have no dinov2.${missing}`;
      expect(found).toEqual({ first, others: 0, isCut: false, kind: null });
    } finally {
      file.close();
    }
  });

  it.each(['llama', 'gpt2', 'bert', 't5', 'vit', 'opt'])('%s without its prefix', (name) => {
    const file = mapSafetensors(join(GOLDENS, name, 'base', 'model.safetensors'));
    try {
      const bare = [...file.tensors].map(
        ([path, one]) => [path.replace(/^(model|transformer|bert|vit)\./, ''), one] as const,
      );
      expect(needed(configOf(name), fullNames(new Map(bare)))).toBeGreaterThan(10);
    } finally {
      file.close();
    }
  });
});

describe('quantized files', () => {
  it('have a header check in every quantizer that reads them', () => {
    const reading = quantizers.filter(({ reads }) => reads);
    expect(reading.map(({ name }) => name)).toEqual(['nf4', 'fp4', 'int8']);
    for (const { name, holds } of reading) expect(holds, name).toBeDefined();
  });

  it('of int8 are accepted, and rejected where the loader rejects them', () => {
    const plain = configOf('llama');
    const config = {
      ...plain,
      quantization_config: { quant_method: 'bitsandbytes', load_in_8bit: true },
    };
    const file = mapSafetensors(join(GOLDENS, 'llama', 'base', 'model.safetensors'));
    try {
      tidy(() => {
        const packed = new Map(file.tensors);
        for (const { path, role } of outlineOf(plain).linears()) {
          if (role === 'head') continue;
          const { numbers, scales } = quantizeInt8(packed.get(`${path}.weight`) as Tensor);
          packed.set(`${path}.weight`, numbers);
          packed.set(`${path}.SCB`, scales);
          packed.set(`${path}.weight_format`, tensor(Uint8Array.of(0), []));
        }
        // all but weight_format
        expect(needed(config, packed)).toBe(file.tensors.size + 14);
      });
    } finally {
      file.close();
    }
  });
});

describe('experts quantized by bitsandbytes', () => {
  const file = mapSafetensors(join(GOLDENS, 'mixtral', 'base', 'model.safetensors'));
  afterAll(() => file.close());
  const packed = (quantization_config: object, pack: (name: string, one: Tensor) => Tensors) => {
    const config = { ...configOf('mixtral'), quantization_config };
    const tensors = [...file.tensors].flatMap(([name, one]) =>
      name.includes('.experts.') ? [...pack(name, one)] : [[name, one] as const],
    );
    return { config, tensors: new Map(tensors) };
  };

  it.each(['8 bits', '4 bits', '4 bits under another dtype'])('are rejected: %s', (kind) => {
    tidy(() => {
      const { config, tensors } =
        kind === '8 bits'
          ? packed({ quant_method: 'bitsandbytes', load_in_8bit: true }, (name, one) => {
              const { numbers, scales } = quantizeInt8(one);
              return new Map([
                [name, numbers],
                [name.replace(/weight$/, 'SCB'), scales],
              ]);
            })
          : packed(
              { quant_method: 'bitsandbytes', load_in_4bit: true, bnb_4bit_quant_type: 'nf4' },
              (name, one) => {
                const { numbers, absmax } = quantizeNf4(one, { blocksize: 64 });
                const bytes = reshape(numbers, [-1, 1]);
                return new Map([
                  [name, kind === '4 bits' ? bytes : to(bytes, 'f32')],
                  [`${name}.absmax`, absmax],
                  [`${name}.quant_state.bitsandbytes__nf4`, tensor(Uint8Array.of(0), [1])],
                ]);
              },
            );
      const { first, others } = weightProblems(config, tensors);
      expect(first).toMatch(
        /^experts quantized by bitsandbytes are not supported \(model\.layers\.0\..*\.experts\.0\..*\.weight\); import the original weights$/,
      );
      expect(others).toBe(0);
      expect(refusal(config, tensors)).toBe(first);
    });
  });
});

describe('a GGUF file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'graft-check-weights-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const base = loadBase(join(import.meta.dirname, '../../../../../examples/tiny-base'), {
    dtype: 'f32',
    quantization: null,
  });
  const weights = wholeWeights(base.model, new Map());
  afterAll(() => base.dispose());

  /** Writes a GGUF file with all weights but one. */
  function written(lacking: string | null): string {
    const workDir = mkdtempSync(join(folder, 'one-'));
    const left = new Map([...weights].filter(([name]) => name !== lacking));
    for (const _ of writeGgufModel({ base, baseName: 'tiny', workDir }, left, 'Q8_0')) void _;
    return join(workDir, 'adapter', 'model-Q8_0.gguf');
  }

  it('is accepted whole, and rejected without any one of its tensors, as by the loader', () => {
    expect(inspectModelFolder(written(null)).problems).toEqual([]);
    expect(weights.size).toBeGreaterThan(10);
    for (const name of weights.keys()) {
      const file = written(name);
      const [problem] = inspectModelFolder(file).problems;
      expect(problem, name).toBeDefined();
      const load = () => loadBase(file, { dtype: 'bf16', quantization: null });
      expect(load, name).toThrow(problem as string);
    }
  });
});
