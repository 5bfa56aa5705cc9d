// Which files of a Hugging Face folder hold its weights. Native-free.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { parseJson } from '../../data/text/tokenizer-files.js';

export const SINGLE = 'model.safetensors';
export const INDEX = 'model.safetensors.index.json';

/**
 * Weight files of a folder, with the tensors an index promises of each.
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

/** Buffers that old checkpoints carry; nothing is read from them. */
const BUFFERS = /(^|\.)(attn\.bias|attn\.masked_bias|rotary_emb\.inv_freq|position_ids)$/;

/** First parameter of checkpoints that were saved without the base's prefix, and the prefix. */
const BARE: readonly (readonly [string, string])[] = [
  ['wte.weight', 'transformer.'],
  ['embed_tokens.weight', 'model.'],
];

/** The tensors of files by their full names, without what nothing is read from. */
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
