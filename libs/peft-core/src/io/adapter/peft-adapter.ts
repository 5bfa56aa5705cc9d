// Adapters in the format of Hugging Face PEFT 0.21: adapter_config.json, adapter_model.safetensors, README.md.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { clone, KernelError, mapSafetensors, noGrad, tidy, to } from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import { charactersIn } from '../../data/audio/derived-vocabulary.js';
import { processorFiles, type VocabularyFiles } from '../../data/processor-files.js';
import { parseJson, type Json } from '../../data/text/tokenizer-files.js';
import type { Adapter } from '../../methods/method.js';
import { methodFor, WITHOUT_ADAPTER } from '../../methods/registry.js';
import type { HfConfig } from '../../nn/hf-files.js';
import { forConfig } from '../../models/registry.js';
import { patternWith, patternWithout } from '../../methods/targets/pattern-prefix.js';
import {
  headPrefix,
  missingPrefixOf,
  pathWith,
  pathWithout,
  type MissingPrefix,
  type ModelPaths,
} from '../../nn/outline/model-paths.js';
import { tasks } from '../../tasks/registry.js';
import type { PeftTask } from '../../tasks/task.js';
import { adapterCard, PEFT_VERSION, type CardEvaluation } from './adapter-card.js';
import { adapterConfig, MAX_CONFIG_BYTES, methodOf, type AdapterConfig } from './adapter-config.js';
import { storedQuantizer } from '../../quant/registry.js';
import type { Base } from '../base/base-folder.js';
import { asModulesCall } from '../base/file-names.js';
import { configJson, vocabularyTexts, writeModel } from '../base/model-folder.js';
import { isUnread, withExactNames } from './exact-names.js';
import { lacksPrefix, namesInside, namesOnDisk } from './peft-names.js';
import { pythonJson } from '../python-json.js';
import { writeSafetensors } from '../safetensors.js';
import { openCheckpoint } from '../base/weights.js';
import { writeWholeText } from '../whole-file.js';

export const ADAPTER_CONFIG = 'adapter_config.json';
export const ADAPTER_WEIGHTS = 'adapter_model.safetensors';
const CONFIG = 'config.json';

export interface AdapterFacts {
  readonly base: Pick<Base, 'config' | 'tokenizerFiles'> &
    Partial<Pick<Base, 'ggufFile' | 'preprocessor' | 'vocabularyFiles'>> & {
      readonly model?: Pick<Base['model'], 'quantization'>;
    };
  /** base_model_name_or_path: the hub id or path from which Transformers loads the base model. */
  readonly baseName: string;
  /** Task that the adapter was trained for. */
  readonly task: PeftTask;
  /** Fields of config.json for the task's head. */
  readonly headConfig?: Json | null;
  /** Files of the vocabulary of the head, if it differs from the base model's. */
  readonly vocabulary?: VocabularyFiles | null;
  /** The Spec's `peft`; null after full fine-tuning, which saves a whole model. */
  readonly peft: { readonly peft_type: string } | null;
  /** Evaluation of the step that the weights come from, if it is the best step so far. */
  readonly evaluation?: CardEvaluation | null;
}

export interface StoredAdapter {
  /**
   * Content of adapter_config.json; for the folder of a fully fine-tuned model, only the peft_type of `"peft": null`.
   */
  readonly peft: Json & { readonly peft_type: string };
  /**
   * Copies by Graft's names, with floating-point tensors in f32: the input of `Adapter.load`. Owned by the caller's
   * scope.
   */
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** Adapters that this one combines, from the subfolders `0`, `1` and so on. */
  readonly adapters: readonly StoredAdapter[];
  /** Frees the tensors. */
  dispose(): void;
}

/** Writes an adapter as PEFT's save_pretrained does. Returns the names of the files. */
export function writeAdapter(
  dir: string,
  adapter: Adapter,
  {
    base: given,
    baseName,
    task,
    headConfig = null,
    vocabulary = null,
    peft,
    evaluation,
  }: AdapterFacts,
): string[] {
  const base = {
    ...given,
    ...(headConfig && { config: withHead(given.config, task, headConfig) }),
    ...(vocabulary && { vocabularyFiles: vocabulary }),
  };
  const hasLabels = headConfig !== null;
  if (peft === null)
    return tidy(() => writeModel(dir, adapter.merged?.() ?? adapter.exported(), base));
  const lacking = missingPrefixFor(base.config, task, hasLabels);
  const saved = tidy(() => {
    const exported = adapter.exported();
    const names = namesOnDisk([...exported.keys()], methodFor(peft).tensors, {
      lacking,
      adapted: adapter.adapted ?? [],
    });
    const onDisk = [...exported].map(([name, tensor]): [string, Tensor] => [
      names.get(name) ?? name,
      tensor,
    ]);
    writeSafetensors(join(dir, ADAPTER_WEIGHTS), new Map(onDisk), { format: 'pt' });
    return [...exported.keys()];
  });
  const resolved = withExactNames(adapter, saved, base.config, task);
  const config = {
    ...(task.taskType === null && { auto_mapping: classOf(base.config) }),
    ...(lacking ? pathsWithout(lacking, resolved) : resolved),
    peft_type: peft.peft_type,
    task_type: task.taskType,
  };
  writeAdapterConfig(dir, config, baseName);
  const gguf = base.ggufFile ?? null;
  const isMixed = methodFor(peft).adapters !== undefined;
  const hasLetters = vocabulary !== null;
  const isPacked = storedQuantizer(base.config) !== null;
  const quantization = (!isPacked && base.model?.quantization) || null;
  const files = new Map([
    ['README.md', adapterCard(config, baseName, task, { ggufFile: gguf, hasLabels, hasLetters, isMixed, quantization, evaluation: evaluation ?? null })], // prettier-ignore
    // separate, because PEFT does not store labels: Transformers' AutoConfig reads it from the folder
    ...(hasLabels ? [[CONFIG, configJson(base.config)] as const] : []),
    ...(vocabulary ? vocabularyTexts(vocabulary) : []),
  ]);
  for (const [name, text] of files) writeWholeText(join(dir, name), text);
  return [ADAPTER_CONFIG, ADAPTER_WEIGHTS, ...files.keys()].sort();
}

/** Whether a folder has the format that full fine-tuning saves. */
export const isWholeModel = (dir: string): boolean => !existsSync(join(dir, ADAPTER_CONFIG));

/** Returns the vocabulary in an adapter's folder; null if it has none. @throws DomainError for invalid files */
export function storedCharacters(dir: string): readonly string[] | null {
  const { vocabulary } = processorFiles(dir);
  return vocabulary && charactersIn(vocabulary);
}

/** Returns config.json of a base model with a task head: 'BertForMaskedLM' → 'BertForSequenceClassification'. */
function withHead(config: HfConfig, { models }: PeftTask, headConfig: Json): HfConfig {
  const { architectures } = config;
  const [name] = Array.isArray(architectures) ? (architectures as unknown[]) : [];
  if (typeof name !== 'string') return { ...config, ...headConfig };
  const family = name.replace(/(For[A-Z]\w*|LMHeadModel|Model)$/, '');
  const { classes = {} } = forConfig(config);
  const named = classes[models] ?? models;
  return { ...config, ...headConfig, architectures: [`${family}For${named}`] };
}

/** Returns the fields by which PEFT finds the class of a model without a task_type. */
function classOf({ architectures, model_type: type }: HfConfig): Json {
  const [name = null] = Array.isArray(architectures) ? (architectures as unknown[]) : [];
  const module = type.replaceAll('-', '_');
  return {
    base_model_class: name,
    parent_library: `transformers.models.${module}.modeling_${module}`,
  };
}

/** Returns the path prefix that a task's adapter files omit; null if there is none. */
function missingPrefixFor(
  config: HfConfig,
  { hasHead }: PeftTask,
  isLabelled: boolean,
): MissingPrefix | null {
  const { paths } = forConfig(config);
  if (hasHead === false) return headless(paths);
  return isLabelled ? missingPrefixOf(paths) : null;
}

const headless = (paths: ModelPaths): MissingPrefix => ({ prefix: headPrefix(paths), before: '' });

/** Fields whose string value is a pattern of full paths. */
const PATTERNS: ReadonlySet<string> = new Set(['target_modules', 'exclude_modules']);

/** Returns a config without the prefix in its lists of module names, patterns and parameter names. */
const pathsWithout = (lacking: MissingPrefix, config: Json): Json =>
  Object.fromEntries(
    Object.entries(config).map(([field, value]) => [
      field,
      Array.isArray(value)
        ? value.map((item: unknown) =>
            typeof item === 'string' ? pathWithout(item, lacking) : item,
          )
        : typeof value === 'string' && PATTERNS.has(field)
          ? patternWithout(lacking.prefix, value)
          : ofParameters(value, (name) => pathWithout(name, lacking)),
    ]),
  );

/** Restores the prefix in a config of a model without a head. Its lists name modules by the ends of their paths. */
const pathsWith = (lacking: MissingPrefix, config: StoredAdapter['peft']): StoredAdapter['peft'] =>
  Object.fromEntries(
    Object.entries(config).map(([field, value]) => [
      field,
      typeof value === 'string' && PATTERNS.has(field)
        ? patternWith(lacking.prefix, value)
        : ofParameters(value, (name) => pathWith(name, lacking)),
    ]),
  ) as StoredAdapter['peft'];

/** Renames parameters. AdaLoRA's rank_pattern has full parameter names; other methods have patterns. */
function ofParameters(value: unknown, rename: (name: string) => string): unknown {
  const isTable = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isTable || !Object.values(value).every(Array.isArray)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, list]) => [rename(name), list]));
}

/** Writes adapter_config.json with the fields that every method has. */
export function writeAdapterConfig(dir: string, fields: Json, baseName: string | null): void {
  // PEFT rejects a config with an initial prompt text but no tokenizer
  const fromText =
    fields['prompt_tuning_init'] === 'TEXT' && fields['tokenizer_name_or_path'] === null;
  const config = {
    auto_mapping: null,
    revision: null,
    ...fields,
    ...(fromText && { tokenizer_name_or_path: baseName }),
    base_model_name_or_path: baseName === '' ? null : baseName,
    inference_mode: true,
    peft_version: PEFT_VERSION,
  };
  // Python distinguishes 0.0 from 0, and readers of the file may check
  writeWholeText(
    join(dir, ADAPTER_CONFIG),
    pythonJson(config, (key) => key.endsWith('dropout')),
  );
}

/**
 * Reads an adapter in PEFT's format, or a model saved after full fine-tuning. `Adapter.load` checks for missing
 * tensors; this function requires that each tensor could belong to a method of Graft.
 * @param config of the base model, to resolve names in files of a model without a head
 * @throws DomainError `invalid_adapter`, naming the file and the problem
 */
export function readAdapter(dir: string, config?: HfConfig): StoredAdapter {
  if (isWholeModel(dir)) return readFull(dir);
  const peft = readAdapterConfig(dir);
  const file = openWeights(dir);
  try {
    const tensors = [...file.tensors].filter(([name]) => !config || !isUnread(name, config));
    const inFile = tensors.map(([name]) => name);
    const lacking = config ? missingPrefixIn(config, peft, inFile) : null;
    const names = namesInside(inFile, methodOf(peft).tensors, lacking);
    return stored(
      lacking ? pathsWith(lacking, peft) : peft,
      tensors.map(([name, tensor]) => [names.get(name) ?? name, () => tensor]),
      methodOf(peft).adapters ? adaptersIn(dir, config) : [],
    );
  } finally {
    file.close();
  }
}

/** Returns the path prefix that an adapter's file omits; null if there is none. */
function missingPrefixIn(
  config: HfConfig,
  peft: AdapterConfig,
  names: readonly string[],
): MissingPrefix | null {
  const { paths } = forConfig(config);
  const isHeadless = tasks.some(
    (task) => task.peft.hasHead === false && task.peft.taskType === peft['task_type'],
  );
  if (isHeadless) return headless(paths);
  const lacking = missingPrefixOf(paths);
  return lacking && names.some((name) => lacksPrefix(name, lacking)) ? lacking : null;
}

function adaptersIn(dir: string, config: HfConfig | undefined): StoredAdapter[] {
  const found: StoredAdapter[] = [];
  for (let at = join(dir, '0'); existsSync(at); at = join(dir, String(found.length)))
    found.push(readAdapter(at, config));
  return found;
}

/** @throws DomainError `invalid_adapter` */
export function readAdapterConfig(dir: string): AdapterConfig {
  const path = join(dir, ADAPTER_CONFIG);
  if (statSync(path).size > MAX_CONFIG_BYTES)
    throw invalid(`${path} is larger than ${MAX_CONFIG_BYTES} bytes`);
  return adapterConfig(readFileSync(path, 'utf8'), path);
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
        : `, only ${pickle}, a pickle file, which can run code; convert it to safetensors`;
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
  const weights = openCheckpoint(dir, null);
  try {
    const config = parseJson(readFileSync(join(dir, CONFIG), 'utf8'), CONFIG) as HfConfig;
    return stored(
      { peft_type: WITHOUT_ADAPTER },
      asModulesCall(weights.names, (name) => weights.get(name) as Tensor, config),
    );
  } finally {
    weights.close();
  }
}

const FLOATING: ReadonlySet<Dtype> = new Set<Dtype>(['f32', 'bf16', 'f16', 'f64']);

function stored(
  peft: StoredAdapter['peft'],
  entries: readonly (readonly [name: string, read: () => Tensor])[],
  adapters: readonly StoredAdapter[] = [],
): StoredAdapter {
  const copied = (read: () => Tensor): Tensor =>
    tidy(() => {
      const t = read();
      return clone(FLOATING.has(t.dtype) ? to(t, 'f32') : t);
    });
  const tensors = noGrad(() => new Map(entries.map(([name, read]) => [name, copied(read)])));
  const dispose = (): void => {
    tensors.forEach((tensor) => tensor.dispose());
    for (const adapter of adapters) adapter.dispose();
  };
  return { peft, tensors, adapters, dispose };
}

function invalid(what: string): DomainError {
  return new DomainError('invalid_adapter', what);
}
