// Finds what a processor needs among the files of a Hugging Face model folder. Native-free.
import { join } from 'node:path';
import {
  parseJson,
  readText,
  TOKENIZER,
  TOKENIZER_CONFIG,
  tokenizerFiles,
  type Json,
  type TokenizerFiles,
} from './text/tokenizer-files.js';

/** How pictures and sounds are read, as transformers 4 saves it. */
export const PREPROCESSOR = 'preprocessor_config.json';

/** The same inside the config of a processor, as transformers 5 saves it. */
export const PROCESSOR = 'processor_config.json';
const IN_PROCESSOR = ['image_processor', 'feature_extractor'] as const;

/** Letters by their ids. */
export const VOCABULARY = 'vocab.json';

/** What a tokenizer of letters needs. */
export interface VocabularyFiles {
  /** vocab.json */
  readonly vocabulary: Json;
  /** tokenizer_config.json */
  readonly tokenizerConfig: Json;
}

export interface ProcessorFiles {
  readonly tokenizer: TokenizerFiles | null;
  /** Where there is no other tokenizer. */
  readonly vocabulary: VocabularyFiles | null;
  /** How pictures and sounds are read: of processor_config.json, or else all of preprocessor_config.json. */
  readonly preprocessor: Json | null;
}

/** @throws DomainError `invalid_model` when a file is not JSON */
export function processorFiles(
  folder: string,
  find: (name: string) => string | undefined = (name) => join(folder, name),
): ProcessorFiles {
  const json = (name: string): Json | null => {
    const text = readText(find(name));
    return text === undefined ? null : parseJson(text, join(folder, name));
  };
  const preprocessor = inProcessor(json(PROCESSOR)) ?? json(PREPROCESSOR);
  if (readText(find(TOKENIZER)) !== undefined)
    return { tokenizer: tokenizerFiles(folder, find), vocabulary: null, preprocessor };
  const vocabulary = json(VOCABULARY);
  const tokenizerConfig = { ...json('special_tokens_map.json'), ...json(TOKENIZER_CONFIG) };
  return {
    tokenizer: null,
    vocabulary: vocabulary && { vocabulary, tokenizerConfig },
    preprocessor,
  };
}

function inProcessor(processor: Json | null): Json | null {
  const found = IN_PROCESSOR.map((key) => processor?.[key]).find(
    (value) => typeof value === 'object' && value !== null,
  );
  return (found as Json | undefined) ?? null;
}
