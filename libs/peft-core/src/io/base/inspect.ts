// Checks a base model before it is imported. Reads files only and loads no native code: the API runs it on
// import.
import { closeSync, existsSync, lstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { basename, join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { safetensorsHeader } from '@graft/kernels';
import { checkProcessor } from '../../data/processor.js';
import { PREPROCESSOR, PROCESSOR, processorFiles, VOCABULARY } from '../../data/processor-files.js';
import {
  checkTokens,
  TOKENIZER,
  TOKENIZER_CONFIG,
  tokenCount,
} from '../../data/text/tokenizer-files.js';
import { wholeModel } from '../../methods/targets/modules-to-save.js';
import { weightProblems } from '../../models/frame/check-weights.js';
import { forConfig, optionsOf, outlineOf } from '../../models/registry.js';
import type { HfConfig } from '../../nn/hf-files.js';
import type { StoredTensor } from '../../nn/outline/stored-names.js';
import { configProblems } from './config-check.js';
import { ggufModel } from '../gguf/gguf-architecture.js';
import { checkedHeader } from '../../data/gguf/gguf-checked.js';
import { ggufTokenizer } from '../../data/gguf/gguf-tokenizer.js';
import { locate } from './locate.js';
import { fullNames, INDEX, weightFiles } from './weight-files.js';

export interface ModelInspection {
  /** Key of the family in the catalog; '' if there is none. */
  readonly family: string;
  /** config.json, or the equivalent of a GGUF header; null if it cannot be read. */
  readonly config: HfConfig | null;
  /** Number of parameters of the model; for an unknown model, number of values in the weight files. */
  readonly parameters: number;
  /** Names of the model's files. Other files in the folder are not needed. */
  readonly files: readonly string[];
  /** Reasons why the model cannot be used, as messages for the user; empty if it can. */
  readonly problems: readonly string[];
}

const COMPANIONS = [
  'config.json',
  'generation_config.json',
  TOKENIZER,
  TOKENIZER_CONFIG,
  'special_tokens_map.json',
  'chat_template.jinja',
  'chat_template.json',
  PREPROCESSOR,
  PROCESSOR,
  INDEX,
];
const MAX_CONFIG_BYTES = 1 << 20;

/**
 * Checks a Hugging Face folder, a .gguf file or a folder that contains one: the architecture is in the
 * catalog, headers are strictly valid and list every tensor that the loader needs with its shape, and no
 * needed file is a pickle or requires code.
 */
export function inspectModelFolder(path: string): ModelInspection {
  const problems: string[] = [];
  /** Removes the folder's path from a message: it may be a folder of the server. */
  const named = (message: string): string =>
    message
      .replace(/^safetensorsHeader\((.*?)\)/, '$1')
      .replaceAll(`${path}/`, '')
      .replaceAll(path, 'the model');
  /** Turns an error into a problem. */
  const attempt = <T>(fn: () => T): T | undefined => {
    try {
      return fn();
    } catch (error) {
      problems.push(named(error instanceof Error ? error.message : String(error)));
      return undefined;
    }
  };
  const source = attempt(() => locate(path));
  const found = source?.endsWith('.gguf')
    ? inspectGguf(source, attempt)
    : source !== undefined
      ? inspectFolder(source, attempt, problems)
      : undefined;
  const model = found?.config && attempt(() => modelOf(found.config as HfConfig));
  if (found?.config && problems.length === 0)
    attempt(() => checkTensors(found.config as HfConfig, found.tensors));
  return {
    family: model?.family ?? '',
    config: found?.config ?? null,
    parameters: model?.parameters ?? found?.parameters ?? 0,
    files: found?.files ?? [],
    problems,
  };
}

interface Found {
  readonly config: HfConfig | undefined;
  readonly parameters: number;
  readonly files: readonly string[];
  /** Tensors by full name. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

type Attempt = <T>(fn: () => T) => T | undefined;

function inspectGguf(path: string, attempt: Attempt): Found {
  attempt(() => refuseDisguise(path));
  const header = attempt(() => checkedHeader(path));
  const files = [basename(path)];
  if (!header) return { config: undefined, parameters: 0, files, tensors: new Map() };
  const model = attempt(() => ggufModel(header));
  const tokenizer = attempt(() => ggufTokenizer(header));
  if (model && tokenizer)
    attempt(() =>
      checkTokens(tokenCount(tokenizer.tokenizerJson), optionsOf(model.config).vocabSize),
    );
  const parameters = header.tensors.reduce((sum, { shape }) => sum + product(shape), 0);
  const tensors = [...(model?.weights ?? [])].map(
    ([name, { tensor }]) => [name, { dtype: 'f32', shape: tensor.shape }] as const,
  );
  return { config: model?.config, parameters, files, tensors: new Map(tensors) };
}

function inspectFolder(folder: string, attempt: Attempt, problems: string[]): Found {
  const companions = COMPANIONS.filter((name) => existsSync(join(folder, name)));
  const weights = attempt(() => weightFiles(folder)) ?? new Map<string, readonly string[]>();
  for (const name of [...companions, ...weights.keys()])
    attempt(() => refuseDisguise(join(folder, name)));
  const config = attempt(() => checkedConfig(join(folder, 'config.json'), problems));
  const read = attempt(() => processorFiles(folder));
  const outline = read && config && attempt(() => outlineOf(config));
  if (read && outline) attempt(() => checkProcessor(read, outline));
  // other models may have a vocab.json next to tokenizer.json and do not need it
  if (read?.vocabulary && outline?.ctc) companions.push(VOCABULARY);
  let parameters = 0;
  const tensors = new Map<string, StoredTensor>();
  for (const [name, listed] of weights) {
    const entries = attempt(() => safetensorsHeader(join(folder, name)).entries) ?? [];
    const names = new Set(entries.map((entry) => entry.name));
    const missing = listed.find((tensor) => !names.has(tensor));
    if (missing !== undefined)
      problems.push(`${INDEX} lists "${missing}" in ${name}, which does not contain it`);
    for (const entry of entries) {
      if (tensors.has(entry.name)) problems.push(`the tensor "${entry.name}" is in two files`);
      tensors.set(entry.name, entry);
      parameters += product(entry.shape);
    }
  }
  const files = [...companions, ...weights.keys()].sort();
  return { config, parameters, files, tensors: fullNames(tensors) };
}

/** @throws DomainError naming the first tensor that is missing or has another shape */
function checkTensors(config: HfConfig, tensors: Found['tensors']): void {
  const { first, others, isCut, kind } = weightProblems(config, tensors);
  if (first === null) return;
  const more = isCut
    ? `more than ${others.toLocaleString('en-US')} others are`
    : `${others} more ${others === 1 ? 'tensor is' : 'tensors are'}`;
  const rest = others > 0 ? `; ${more} missing or of another shape` : '';
  throw new DomainError('invalid_model', first + rest + (kind === null ? '' : `; ${kind}`));
}

function checkedConfig(path: string, problems: string[]): HfConfig | undefined {
  if (lstatSync(path).size > MAX_CONFIG_BYTES)
    throw new Error(`config.json is larger than ${MAX_CONFIG_BYTES} bytes`);
  const text = readFileSync(path, 'utf8');
  const found = configProblems(text);
  problems.push(...found);
  return found.length === 0 ? (JSON.parse(text) as HfConfig) : undefined;
}

/**
 * Family and number of parameters. Files may also contain buffers, tied matrices twice, or quantized
 * matrices.
 */
function modelOf(config: HfConfig): { family: string; parameters: number } {
  return { family: forConfig(config).name, parameters: wholeModel(outlineOf(config)) };
}

/**
 * First bytes of files that can run code when they are loaded, or contain other files: pickles, archives,
 * programs.
 */
const DISGUISES: readonly (readonly [string, (bytes: Buffer) => boolean])[] = [
  ['a pickle, which can run code', (b) => b[0] === 0x80 && (b[1] as number) <= 5],
  ['a zip archive, as torch.save writes', (b) => b.subarray(0, 2).toString('latin1') === 'PK'],
  ['a numpy file', (b) => b.subarray(0, 6).toString('latin1') === '\x93NUMPY'],
  ['an HDF5 file', (b) => b.subarray(1, 4).toString('latin1') === 'HDF'],
  ['compressed', (b) => b.readUInt16BE(0) === 0x1f8b || b.readUInt32BE(0) === 0x28b52ffd],
  ['a program', (b) => b.subarray(1, 4).toString('latin1') === 'ELF'],
];

/** @throws DomainError if a file is not a regular file, or not what its name says */
function refuseDisguise(path: string): void {
  const name = basename(path);
  if (!lstatSync(path).isFile())
    throw new DomainError('invalid_model', `${name} is not a regular file`);
  const bytes = Buffer.alloc(9);
  const file = openSync(path, 'r');
  try {
    readSync(file, bytes, 0, 9, 0);
  } finally {
    closeSync(file);
  }
  // a safetensors length may begin with any byte, but its JSON follows at byte 8; its own check is strict
  const safetensors =
    name.endsWith('.safetensors') && bytes.readUInt32LE(4) === 0 && bytes[8] === 0x7b;
  const [what] = (!safetensors && DISGUISES.find(([, matches]) => matches(bytes))) || [];
  if (what !== undefined)
    throw new DomainError('invalid_model', `${name} is ${what}; import the original model files`);
}

const product = (shape: readonly number[]): number => shape.reduce((result, n) => result * n, 1);
