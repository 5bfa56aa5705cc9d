// Adapters as Hugging Face PEFT 0.21 saves and loads them: adapter_config.json, adapter_model.safetensors, README.md.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { clone, KernelError, mapSafetensors, noGrad, tidy, to } from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import { z } from 'zod';
import { parseJson } from '../data/tokenizer-files.js';
import type { Json } from '../data/tokenizer-files.js';
import { BOOKKEEPING } from '../methods/fields.js';
import type { Adapter, Method } from '../methods/method.js';
import { methodFor } from '../methods/registry.js';
import { adapterCard, PEFT_VERSION } from './adapter-card.js';
import type { Base } from './base-folder.js';
import { writeModel } from './model-folder.js';
import { namesInside, namesOnDisk } from './peft-names.js';
import { pythonJson } from './python-json.js';
import { writeSafetensors } from './safetensors.js';
import { mapWeights } from './weights.js';
import { writeWholeText } from './whole-file.js';

export const ADAPTER_CONFIG = 'adapter_config.json';
export const ADAPTER_WEIGHTS = 'adapter_model.safetensors';

const FULL = 'FULL';
const MAX_CONFIG_BYTES = 1 << 20;

export interface AdapterFacts {
  readonly base: Pick<Base, 'config' | 'tokenizerFiles'> & Partial<Pick<Base, 'ggufFile'>>;
  /** base_model_name_or_path: the hub's id or a path, by which transformers finds the base again. */
  readonly baseName: string;
  /** The Spec's `peft`; null after full fine-tuning, which saves a whole model. */
  readonly peft: { readonly peft_type: string } | null;
}

export interface StoredAdapter {
  /** adapter_config.json; `{"peft_type":"FULL"}` for the folder of a fully fine-tuned model */
  readonly peft: Json & { readonly peft_type: string };
  /** Copies, floating ones in f32, by Graft's names: what `Adapter.load` takes. Owned by the caller's scope. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** Frees the tensors. */
  dispose(): void;
}

/** Writes an adapter as PEFT's save_pretrained does. Returns the names of the files. */
export function writeAdapter(
  dir: string,
  adapter: Adapter,
  { base, baseName, peft }: AdapterFacts,
): string[] {
  if (peft === null)
    return tidy(() => writeModel(dir, adapter.merged?.() ?? adapter.exported(), base));
  tidy(() => {
    const exported = adapter.exported();
    const names = namesOnDisk([...exported.keys()]);
    const onDisk = [...exported].map(([name, tensor]): [string, Tensor] => [
      names.get(name) ?? name,
      tensor,
    ]);
    writeSafetensors(join(dir, ADAPTER_WEIGHTS), new Map(onDisk), { format: 'pt' });
  });
  writeAdapterConfig(dir, { ...adapter.resolvedConfig(), peft_type: peft.peft_type }, baseName);
  const gguf = base.ggufFile ?? null;
  writeWholeText(join(dir, 'README.md'), adapterCard(peft.peft_type, baseName, gguf));
  return ['README.md', ADAPTER_CONFIG, ADAPTER_WEIGHTS];
}

/** adapter_config.json with the fields every method has. */
export function writeAdapterConfig(dir: string, fields: Json, baseName: string | null): void {
  // PEFT refuses to read a config that starts from a text without naming a tokenizer
  const fromText =
    fields['prompt_tuning_init'] === 'TEXT' && fields['tokenizer_name_or_path'] === null;
  const config = {
    auto_mapping: null,
    revision: null,
    task_type: 'CAUSAL_LM',
    ...fields,
    ...(fromText && { tokenizer_name_or_path: baseName }),
    base_model_name_or_path: baseName === '' ? null : baseName,
    inference_mode: true,
    peft_version: PEFT_VERSION,
  };
  // Python tells 0.0 from 0; readers of the file may look
  writeWholeText(
    join(dir, ADAPTER_CONFIG),
    pythonJson(config, (key) => key.endsWith('dropout')),
  );
}

/**
 * Reads an adapter in PEFT's format, or a model saved after full fine-tuning. Which tensors there must be is for
 * `Adapter.load`; here every tensor must be one that a method of Graft's could have.
 * @throws DomainError `invalid_adapter` naming the file and what is wrong with it.
 */
export function readAdapter(dir: string): StoredAdapter {
  if (!existsSync(join(dir, ADAPTER_CONFIG))) return readFull(dir);
  const peft = readAdapterConfig(dir);
  const file = openWeights(dir);
  try {
    const names = namesInside([...file.tensors.keys()]);
    return stored(
      peft,
      [...file.tensors].map(([name, tensor]) => [names.get(name) ?? name, tensor]),
    );
  } finally {
    file.close();
  }
}

/** adapter_config.json without the duplicates PEFT leaves in lists, and without empty fields of a newer PEFT. */
export function readAdapterConfig(dir: string): Json & { readonly peft_type: string } {
  const path = join(dir, ADAPTER_CONFIG);
  if (statSync(path).size > MAX_CONFIG_BYTES)
    throw invalid(`${path} is larger than ${MAX_CONFIG_BYTES} bytes`);
  let config: Json;
  try {
    config = parseJson(readFileSync(path, 'utf8'), path);
  } catch (error) {
    throw invalid((error as Error).message);
  }
  if (typeof config['peft_type'] !== 'string') throw invalid(`${path} has no peft_type`);
  const saved = config['modules_to_save'];
  const deduped = Array.isArray(saved) ? { modules_to_save: [...new Set(saved)] } : {};
  return withoutNews({ ...config, ...deduped } as Json & { readonly peft_type: string });
}

function methodOf(config: { readonly peft_type: string }): Method {
  try {
    return methodFor(config);
  } catch (error) {
    throw invalid((error as Error).message);
  }
}

/**
 * Leaves out fields that this build's method does not have, where they say nothing (null, false, empty): newer PEFT
 * writes every field it has. One that says something stays, and is refused by name when the adapter is attached.
 */
function withoutNews(
  config: Json & { readonly peft_type: string },
): Json & { readonly peft_type: string } {
  const { options, neutral } = methodOf(config);
  const { properties = {} } = z.toJSONSchema(options, { io: 'input' });
  const isKnown = (key: string): boolean =>
    key === 'peft_type' ||
    key === 'task_type' ||
    BOOKKEEPING.has(key) ||
    key in neutral ||
    key in properties;
  const saysNothing = (value: unknown): boolean =>
    value === null ||
    value === false ||
    (typeof value === 'object' && Object.keys(value).length === 0);
  const kept = Object.entries(config).filter(([key, value]) => isKnown(key) || !saysNothing(value));
  return Object.fromEntries(kept) as Json & { readonly peft_type: string };
}

function openWeights(dir: string): ReturnType<typeof mapSafetensors> {
  const path = join(dir, ADAPTER_WEIGHTS);
  if (!existsSync(path)) {
    const pickle = readdirSync(dir).find((name) =>
      /^adapter_model\.(bin|pt|pth|pkl|ckpt)$/.test(name),
    );
    const found =
      pickle === undefined
        ? ''
        : `, only ${pickle}, a pickle, which can run code: convert it to safetensors`;
    throw invalid(`${dir} has no ${ADAPTER_WEIGHTS}${found}`);
  }
  try {
    return mapSafetensors(path);
  } catch (error) {
    if (error instanceof KernelError) throw invalid(error.message);
    throw error;
  }
}

function readFull(dir: string): StoredAdapter {
  if (!existsSync(join(dir, 'config.json'))) throw invalid(`${dir} has no ${ADAPTER_CONFIG}`);
  const weights = mapWeights(dir);
  try {
    return stored({ peft_type: FULL }, [...weights.tensors]);
  } finally {
    weights.close();
  }
}

const FLOATING: ReadonlySet<Dtype> = new Set<Dtype>(['f32', 'bf16', 'f16', 'f64']);

function stored(peft: StoredAdapter['peft'], entries: [string, Tensor][]): StoredAdapter {
  const tensors = tidy(() =>
    noGrad(
      () =>
        new Map(
          entries.map(([name, t]) => [name, clone(FLOATING.has(t.dtype) ? to(t, 'f32') : t)]),
        ),
    ),
  );
  return { peft, tensors, dispose: () => tensors.forEach((tensor) => tensor.dispose()) };
}

function invalid(what: string): DomainError {
  return new DomainError('invalid_adapter', what);
}
