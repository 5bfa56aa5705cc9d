import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mapSafetensors, tidy, to, type Tensor } from '@graft/kernels';
import { packBatch, type Example } from '@graft/peft-core';

export const HERE = import.meta.dirname;

export const json = <T>(...path: string[]): T => JSON.parse(readFileSync(join(HERE, ...path), 'utf8')) as T;

export const families = readdirSync(HERE)
  .filter((family) => existsSync(join(HERE, family, 'base', 'config.json')))
  .sort();

export const casesOf = (family: string): string[] =>
  readdirSync(join(HERE, family))
    .filter((name) => existsSync(join(HERE, family, name, 'golden.json')))
    .sort();

/** PEFT's name in memory → ours. */
export function ourName(name: string): string {
  return name
    .replace(/^base_model\.model\./, '')
    .replace(/^prompt_encoder\.default\./, '')
    .replace(/\.(lora_A|lora_B|lora_magnitude_vector)\.default(\.weight)?$/, '.$1')
    .replace('.modules_to_save.default', '')
    .replace('.base_layer', '');
}

interface HfSequence {
  readonly tokens: readonly number[];
  readonly labels: readonly number[];
}

/** Unshifted labels → targets of the next token. */
export const example = ({ tokens, labels }: HfSequence): Example => ({
  tokens: Int32Array.from(tokens),
  labels: Int32Array.from([...labels.slice(1), -100]),
  first: labels[0] as number,
});

/** Batch 0 of a family, all sequences of one run. */
export const firstBatch = (family: string, run: number): ReturnType<typeof packBatch> =>
  packBatch([{ run, examples: (json<HfSequence[][]>(family, 'batches.json')[0] as HfSequence[]).map(example) }]);

/** Values by name; `rename` gives the names. */
export function values(file: string, rename = (name: string): string => name): Map<string, Float32Array> {
  const { tensors, close } = mapSafetensors(join(HERE, file));
  const found = tidy(
    () => new Map([...tensors].map(([name, tensor]) => [rename(name), to(tensor, 'f32').toArray() as Float32Array])),
  );
  close();
  return found;
}

export const largest = (list: Float32Array): number => list.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/** Largest difference. */
export const difference = (ours: Float32Array, theirs: Float32Array): number =>
  ours.reduce((most, value, i) => Math.max(most, Math.abs(value - (theirs[i] as number))), 0);

export const floats = (tensor: Tensor): Float32Array => tidy(() => to(tensor, 'f32').toArray() as Float32Array);
