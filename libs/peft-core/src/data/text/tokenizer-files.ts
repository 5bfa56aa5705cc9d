// Finds the files of a tokenizer in a Hugging Face model folder. Loads no native code.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';

export type Json = Readonly<Record<string, unknown>>;

export interface TokenizerFiles {
  /** Content of tokenizer.json. */
  readonly tokenizerJson: string;
  /** Content of tokenizer_config.json. */
  readonly tokenizerConfig?: Json;
  /** Jinja source; takes precedence over the one in the config. */
  readonly chatTemplate?: string | null;
  /** Contents of config.json and generation_config.json, which may list more end-of-text tokens. */
  readonly config?: Json;
  readonly generationConfig?: Json;
}

export const TOKENIZER = 'tokenizer.json';
export const TOKENIZER_CONFIG = 'tokenizer_config.json';
const MAX_BYTES = 64 << 20;

/** @throws DomainError `invalid_model` if tokenizer.json is missing or a file is not JSON */
export function tokenizerFiles(
  folder: string,
  find: (name: string) => string | undefined = (name) => join(folder, name),
): TokenizerFiles {
  const text = (name: string): string | undefined => readText(find(name));
  const tokenizerJson = text(TOKENIZER);
  if (tokenizerJson === undefined) {
    throw new DomainError(
      'invalid_model',
      `${folder} has no ${TOKENIZER}; save the tokenizer with transformers' save_pretrained to get one`,
    );
  }
  const json = (name: string): Json => parseJson(text(name) ?? '{}', join(folder, name));
  const special = json('special_tokens_map.json');
  return {
    tokenizerJson,
    tokenizerConfig: { ...special, ...json(TOKENIZER_CONFIG) },
    chatTemplate: text('chat_template.jinja') ?? templateIn(json('chat_template.json')),
    config: json('config.json'),
    generationConfig: json('generation_config.json'),
  };
}

/**
 * Number of distinct tokens of a tokenizer.json, including added ones; the same number as the tokenizers
 * package's.
 * @throws DomainError `invalid_model` if it is not JSON
 */
export function tokenCount(tokenizerJson: string): number {
  const { model, added_tokens: added } = parseJson(tokenizerJson, TOKENIZER);
  const vocab = (model as { vocab?: unknown } | null | undefined)?.vocab ?? {};
  // Unigram has a list of tokens with their scores
  const listed = Array.isArray(vocab)
    ? vocab.map((one: readonly unknown[] | null) => one?.[0])
    : Object.keys(vocab);
  const contents = (Array.isArray(added) ? added : []).map(
    (one: { readonly content?: unknown } | null) => one?.content,
  );
  return new Set([...listed, ...contents].filter((token) => typeof token === 'string')).size;
}

/** @throws DomainError `invalid_model` if the tokenizer has tokens without an embedding row */
export function checkTokens(tokens: number, vocabSize: number): void {
  if (tokens <= vocabSize) return;
  const message = `the tokenizer has ${tokens} tokens, but the model's embedding has ${vocabSize}`;
  throw new DomainError('invalid_model', message, 'model');
}

/** Parses a JSON object from a file. @throws DomainError `invalid_model` */
export function parseJson(text: string, path: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new DomainError(
      'invalid_model',
      `${path} is not valid JSON: ${(error as Error).message}`,
    );
  }
  if (value !== null && typeof value === 'object' && !Array.isArray(value)) return value as Json;
  throw new DomainError('invalid_model', `${path} must be a JSON object`);
}

/** Reads a text file; undefined if there is none. @throws DomainError if it is too large */
export function readText(path: string | undefined): string | undefined {
  if (path === undefined || !existsSync(path)) return undefined;
  if (statSync(path).size > MAX_BYTES)
    throw new DomainError('invalid_model', `${path} is larger than ${MAX_BYTES} bytes`);
  return readFileSync(path, 'utf8');
}

/** Chat template of a config: text, or the one named "default" in a list. */
export function templateIn(config: Json): string | null {
  const found = config['chat_template'];
  if (typeof found === 'string') return found;
  if (!Array.isArray(found)) return null;
  const named = found as ({ name?: unknown; template?: unknown } | null)[];
  const chosen = named.find((one) => one?.name === 'default') ?? named[0];
  return typeof chosen?.template === 'string' ? chosen.template : null;
}

/** A special token of a tokenizer config: text, or an object with its content. */
export function specialToken(config: Json, key: string): string | null {
  const value = config[key];
  if (typeof value === 'string') return value;
  const content = (value as { content?: unknown } | null | undefined)?.content;
  return typeof content === 'string' ? content : null;
}
