// The weights of a Hugging Face folder: model.safetensors, or several files joined by an index.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { KernelError, mapSafetensors } from '@graft/kernels';
import type { MappedSafetensors, Tensor } from '@graft/kernels';
import { parseJson } from '../data/tokenizer-files.js';

export const SINGLE = 'model.safetensors';
export const INDEX = 'model.safetensors.index.json';

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

/**
 * Weight files of a folder, with the tensors an index promises of each. Native-free.
 * @throws DomainError `invalid_model` when there are none, or the index names files it must not.
 */
export function weightFiles(folder: string): ReadonlyMap<string, readonly string[]> {
  if (existsSync(join(folder, INDEX))) return indexed(folder);
  const names = readdirSync(folder).filter((name) => name.endsWith('.safetensors'));
  if (names.includes(SINGLE)) return new Map([[SINGLE, []]]);
  const [only] = names;
  if (only !== undefined && names.length === 1) return new Map([[only, []]]);
  if (names.length > 1)
    throw invalid(`${folder} has ${names.length} safetensors files and no ${INDEX}`);
  const pickle = readdirSync(folder).find((name) => /\.(bin|pt|pth|ckpt|pkl)$/.test(name));
  const advice =
    pickle === undefined
      ? ''
      : `; ${pickle} is a pickle, which can run code: convert it to safetensors (transformers' save_pretrained does)`;
  throw invalid(`${folder} has no safetensors file${advice}`);
}

function indexed(folder: string): ReadonlyMap<string, readonly string[]> {
  const path = join(folder, INDEX);
  const map = parseJson(readFileSync(path, 'utf8'), path)['weight_map'];
  if (map === null || typeof map !== 'object') throw invalid(`${path} has no weight_map`);
  const files = new Map<string, string[]>();
  for (const [tensor, file] of Object.entries(map as Record<string, unknown>)) {
    if (typeof file !== 'string' || basename(file) !== file || !file.endsWith('.safetensors')) {
      throw invalid(
        `${path} names the file ${JSON.stringify(file)}; only safetensors files beside it may be named`,
      );
    }
    if (!files.has(file) && !existsSync(join(folder, file)))
      throw invalid(`${file} of ${INDEX} is missing in ${folder}`);
    files.set(file, [...(files.get(file) ?? []), tensor]);
  }
  if (files.size === 0) throw invalid(`${path} lists no tensors`);
  return files;
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

function invalid(what: string): DomainError {
  return new DomainError('invalid_model', what, 'model');
}
