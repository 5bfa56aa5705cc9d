// Finds the weight files of a Hugging Face folder. Loads no native code.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { parseJson } from '../../data/text/tokenizer-files.js';

export const SINGLE = 'model.safetensors';
export const INDEX = 'model.safetensors.index.json';

/**
 * Weight files of a folder, each with the tensors that the index lists for it.
 * @throws DomainError `invalid_model` if there are none, or if the index names files that are not allowed
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
      : `; ${pickle} is a pickle file, which can run code; convert it to safetensors (with transformers' save_pretrained)`;
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
        `${path} names the file ${JSON.stringify(file)}; only safetensors files in the same directory are allowed`,
      );
    }
    if (!files.has(file) && !existsSync(join(folder, file)))
      throw invalid(`${file}, listed in ${INDEX}, is missing from ${folder}`);
    const listed = files.get(file);
    if (listed) listed.push(tensor);
    else files.set(file, [tensor]);
  }
  if (files.size === 0) throw invalid(`${path} lists no tensors`);
  return files;
}

/** Buffers in older checkpoints; they are not read. */
const BUFFERS = /(^|\.)(attn\.bias|attn\.masked_bias|rotary_emb\.inv_freq|position_ids)$/;

/** Checkpoints saved without the base's prefix: their first parameter, and the prefix. */
const BARE: readonly (readonly [string, string])[] = [
  ['wte.weight', 'transformer.'],
  ['embed_tokens.weight', 'model.'],
];

/** Returns the tensors by their full names, without buffers that are not read. */
export function fullNames<T>(found: ReadonlyMap<string, T>): ReadonlyMap<string, T> {
  const [, prefix] = BARE.find(([first]) => found.has(first)) ?? [];
  const kept = [...found].filter(([name]) => !BUFFERS.test(name));
  if (prefix === undefined) return new Map(kept);
  return new Map(
    kept.map(([name, tensor]) => [name.startsWith('lm_head.') ? name : prefix + name, tensor]),
  );
}

export function invalid(what: string): DomainError {
  return new DomainError('invalid_model', what, 'model');
}
