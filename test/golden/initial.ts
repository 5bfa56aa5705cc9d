// Golden tensors by Graft's names, and an adapter put into a golden's state.
import { dirname, join } from 'node:path';
import { copy_, mapSafetensors, noGrad, tidy, type Tensor } from '@graft/kernels';
import { readAdapter, type Adapter } from '@graft/peft-core';
import { expect } from 'vitest';
import { HERE, ourName } from './golden-case.js';

/** @param rename PEFT's name in memory → ours */
export function readNamed(
  file: string,
  rename = ourName,
): { tensors: Map<string, Tensor>; close(): void } {
  const { tensors, close } = mapSafetensors(join(HERE, file));
  return { tensors: new Map([...tensors].map(([name, tensor]) => [rename(name), tensor])), close };
}

/** Gives an adapter the parameters of a file, encoders included: it must have those and no others. */
export function begin(adapter: Adapter, file: string, rename = ourName): void {
  if (holdsMore(adapter)) {
    const stored = readAdapter(join(HERE, dirname(file)));
    adapter.load(stored.tensors);
    stored.dispose();
  }
  const { tensors, close } = readNamed(file, rename);
  expect([...tensors.keys()].sort()).toEqual([...adapter.parameters.keys()].sort());
  noGrad(() =>
    adapter.parameters.forEach((parameter, name) => copy_(parameter, tensors.get(name) as Tensor)),
  );
  close();
}

/**
 * Whether the adapter's file alone tells what is saved and does not train: rows beside those that do, and decompositions,
 * which know no sign, so that another processor may choose the other.
 */
const holdsMore = ({ parameters, exported }: Adapter): boolean =>
  parameters.has('trainable_embedding') ||
  tidy(() =>
    [...exported().keys()].some((name) => !parameters.has(name) && name !== 'prompt_embeddings'),
  );
