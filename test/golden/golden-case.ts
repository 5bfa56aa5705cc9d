import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mapSafetensors, tidy, to, type Tensor } from '@graft/kernels';
import {
  methods as allMethods,
  packBatch,
  readAdapter,
  type StoredAdapter,
  type TokenSequence,
} from '@graft/peft-core';
import { catalog } from '@graft/peft-core/catalog';
import { expect } from 'vitest';

export const HERE = import.meta.dirname;

export const json = <T>(...path: string[]): T =>
  JSON.parse(readFileSync(join(HERE, ...path), 'utf8')) as T;

interface BaseConfig {
  readonly model_type: string;
  readonly quantization_config?: { readonly bnb_4bit_quant_type: string };
}

/** Fields of golden.json that select cases. */
interface CaseFacts {
  readonly task?: string;
  readonly training?: boolean;
}

/**
 * Whether the reference was in training mode. Methods that draw random numbers in training have references in
 * evaluation mode.
 */
export const isTraining = (family: string, name: string): boolean =>
  json<CaseFacts>(family, name, 'golden.json').training ?? true;

const { methods, families: models, tasks, quantizers } = catalog();
const has = {
  method: new Set(methods.map(({ peft_type }) => peft_type)),
  modelType: new Set(models.flatMap(({ model_types }) => model_types)),
  task: new Set(tasks.map(({ name }) => name)),
  quantizer: new Set(quantizers.map(({ name }) => name)),
};

export const baseConfig = (family: string): BaseConfig =>
  json<BaseConfig>(family, 'base', 'config.json');

/**
 * Whether the registries have the plug-ins of a base. A golden may be added before its plug-in; such goldens
 * are skipped.
 */
function hasBase(family: string): boolean {
  if (!existsSync(join(HERE, family, 'base', 'config.json'))) return false;
  const { model_type: type, quantization_config: quantization } = baseConfig(family);
  return (
    has.modelType.has(type) &&
    (!quantization || has.quantizer.has(quantization.bnb_4bit_quant_type))
  );
}

function hasPlugins(family: string, name: string): boolean {
  const config = join(HERE, family, name, 'adapter_config.json');
  if (!existsSync(config)) return true;
  return has.method.has(
    (JSON.parse(readFileSync(config, 'utf8')) as { peft_type: string }).peft_type,
  );
}

/** All base models that this build can load. */
export const bases = readdirSync(HERE).filter(hasBase).sort();

/** Names of the golden cases of a base for a task. */
export const casesOf = (family: string, task = 'causal_lm'): string[] =>
  readdirSync(join(HERE, family))
    .filter((name) => existsSync(join(HERE, family, name, 'golden.json')))
    .filter(
      (name) =>
        (json<CaseFacts>(family, name, 'golden.json').task ?? 'causal_lm') === task &&
        hasPlugins(family, name),
    )
    .sort();

/** Base models with cases for a task. */
export const familiesOf = (task: string): string[] =>
  has.task.has(task) ? bases.filter((family) => casesOf(family, task).length > 0) : [];

export const families = familiesOf('causal_lm');

/** Adapters that a case's adapter is built from. */
export function partsOf(family: string, name: string): StoredAdapter[] {
  const dir = (part: number): string => join(HERE, family, name, String(part));
  const parts: StoredAdapter[] = [];
  while (existsSync(dir(parts.length))) parts.push(readAdapter(dir(parts.length)));
  return parts;
}

/** Parts that all modules share. In memory, PEFT stores them at the first module. */
const SHARED = allMethods.flatMap(({ tensors }) =>
  Object.keys(tensors)
    .filter((part) => tensors[part] === 'shared')
    .map((part) => new RegExp(`(?<=\\.)${part.replace('.*', '\\.[^.]+')}$`)),
);

/** Parts whose names in files contain the adapter's name. */
const LITERAL = allMethods.flatMap(({ tensors }) =>
  Object.keys(tensors).filter((part) => /\.default($|\.)/.test(part)),
);

/** Maps PEFT's name in memory to ours. */
export function ourName(name: string): string {
  const inside = name.replace(/^base_model\.(model\.)?/, '');
  const literal = LITERAL.find((part) => `.${inside}`.includes(`.${part}.`));
  if (literal) return inside.startsWith(literal) ? inside : inside.replace(/\.weight$/, '');
  const own = inside
    .replace(/^prompt_encoder\.default\./, '')
    .replace('.modules_to_save.default', '')
    // in files, too, a parameter that only one module has is named without `base_layer`
    .replace(/\.base_layer(?!(?:\.base_layer)*\.lora_)/, '')
    .replace(/\.default((?:\.[^.]+)*?)(?:\.weight)?$/, '$1');
  for (const part of SHARED) {
    const [shared] = part.exec(own) ?? [];
    if (shared !== undefined) return shared;
  }
  return own;
}

interface HfSequence {
  readonly tokens: readonly number[];
  readonly labels: readonly number[];
}

/** Converts unshifted labels to next-token targets. */
export const example = ({ tokens, labels }: HfSequence, i = 0): TokenSequence => ({
  // for adapters with a prompt per task: cycles through three tasks (measure.py)
  taskId: i % 3,
  tokens: Int32Array.from(tokens),
  labels: Int32Array.from([...labels.slice(1), -100]),
  first: labels[0] as number,
});

/** Batch 0 of a family, with all sequences in one run. */
export const firstBatch = (family: string, run: number): ReturnType<typeof packBatch> =>
  packBatch([
    {
      run,
      examples: (json<HfSequence[][]>(family, 'batches.json')[0] as HfSequence[]).map(example),
    },
  ]);

/** Values by name. @param rename maps the names in the file */
export function values(
  file: string,
  rename = (name: string): string => name,
): Map<string, Float32Array> {
  const { tensors, close } = mapSafetensors(join(HERE, file));
  const found = tidy(
    () =>
      new Map(
        [...tensors].map(([name, tensor]) => [
          rename(name),
          to(tensor, 'f32').toArray() as Float32Array,
        ]),
      ),
  );
  close();
  return found;
}

/** Dtypes by name. */
export function dtypesOf(file: string): Map<string, string> {
  const { tensors, close } = mapSafetensors(join(HERE, file));
  const found = new Map([...tensors].map(([name, { dtype }]) => [name, dtype]));
  close();
  return found;
}

export const largest = (list: Float32Array): number =>
  list.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/** Largest absolute difference. */
export const difference = (ours: Float32Array, theirs: Float32Array): number =>
  ours.reduce((most, value, i) => Math.max(most, Math.abs(value - (theirs[i] as number))), 0);

/**
 * Checks that both have the same names with bitwise equal values. Compares bytes, because vitest compares
 * number by number, which takes longer than computing them.
 */
export function expectSameBits(
  ours: ReadonlyMap<string, Float32Array>,
  theirs: ReadonlyMap<string, Float32Array>,
): void {
  expect([...ours.keys()]).toEqual([...theirs.keys()]);
  const bytes = ({ buffer, byteOffset, byteLength }: Float32Array): Buffer =>
    Buffer.from(buffer, byteOffset, byteLength);
  for (const [name, numbers] of theirs) {
    const found = ours.get(name) as Float32Array;
    // reports the difference
    if (!bytes(found).equals(bytes(numbers))) expect(found, name).toEqual(numbers);
  }
}

export const floats = (tensor: Tensor): Float32Array =>
  tidy(() => to(tensor, 'f32').toArray() as Float32Array);
