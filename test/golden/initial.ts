// Golden tensors with Graft's names, and adapters in a golden's initial state.
import { dirname, join } from 'node:path';
import { copy_, mapSafetensors, noGrad, tidy, type Tensor } from '@graft/kernels';
import { readAdapter, type Adapter } from '@graft/peft-core';
import { expect } from 'vitest';
import { HERE, ourName } from './golden-case.js';

/** Opens a golden file. @param rename maps PEFT's name in memory to ours */
export function readNamed(
  file: string,
  rename = ourName,
): { tensors: Map<string, Tensor>; close(): void } {
  const { tensors, close } = mapSafetensors(join(HERE, file));
  return { tensors: new Map([...tensors].map(([name, tensor]) => [rename(name), tensor])), close };
}

/** Loads an adapter's parameters from a file, including encoders. Both must have the same names. */
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
 * Whether the adapter's file is needed for saved tensors that do not train: rows next to trainable ones, and
 * decompositions, whose sign is arbitrary and depends on the processor.
 */
const holdsMore = ({ parameters, exported }: Adapter): boolean =>
  parameters.has('trainable_embedding') ||
  tidy(() =>
    [...exported().keys()].some((name) => !parameters.has(name) && name !== 'prompt_embeddings'),
  );
