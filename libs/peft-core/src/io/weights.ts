// The weights of a Hugging Face folder: model.safetensors, or several files joined by an index.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { KernelError, mapSafetensors } from '@graft/kernels';
import type { MappedSafetensors, Tensor } from '@graft/kernels';
import { INDEX, invalid, weightFiles } from './weight-files.js';

export interface Weights {
  /** by their full names (the base's prefix put back where a file leaves it out), over the files' own pages */
  readonly tensors: ReadonlyMap<string, Tensor>;
  close(): void;
}

/** Buffers that old checkpoints carry; nothing is read from them. */
const BUFFERS = /(^|\.)(attn\.bias|attn\.masked_bias|rotary_emb\.inv_freq|position_ids)$/;

/** First parameter of checkpoints that were saved without the base's prefix, and the prefix. */
const BARE: readonly (readonly [string, string])[] = [
  ['wte.weight', 'transformer.'],
  ['embed_tokens.weight', 'model.'],
];

/** Maps the files; nothing is read until it is used. @throws DomainError `invalid_model` naming the file. */
export function mapWeights(folder: string): Weights {
  const files: MappedSafetensors[] = [];
  const close = (): void => files.forEach((file) => file.close());
  try {
    const found = new Map<string, Tensor>();
    for (const [name, listed] of weightFiles(folder)) {
      const file = mapped(join(folder, name));
      files.push(file);
      const missing = listed.find((tensor) => !file.tensors.has(tensor));
      if (missing !== undefined)
        throw invalid(`${INDEX} says that ${name} holds "${missing}"; it does not`);
      for (const [tensor, value] of file.tensors) {
        if (found.has(tensor)) throw invalid(`the tensor "${tensor}" is in two files`);
        found.set(tensor, value);
      }
    }
    return { tensors: named(found), close };
  } catch (error) {
    close();
    throw error;
  }
}

function mapped(path: string): MappedSafetensors {
  try {
    return mapSafetensors(path);
  } catch (error) {
    if (error instanceof KernelError && existsSync(path)) throw invalid(error.message);
    throw error;
  }
}

/** Full names for the tensors of a file. */
function named(found: ReadonlyMap<string, Tensor>): ReadonlyMap<string, Tensor> {
  const [, prefix] = BARE.find(([first]) => found.has(first)) ?? [];
  const kept = [...found].filter(([name]) => !BUFFERS.test(name));
  if (prefix === undefined) return new Map(kept);
  return new Map(
    kept.map(([name, tensor]) => [name.startsWith('lm_head.') ? name : prefix + name, tensor]),
  );
}
