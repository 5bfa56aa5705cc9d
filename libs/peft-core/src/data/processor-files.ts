// Finds the files that a processor needs in a Hugging Face model folder. Native-free.
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

/** Image or audio preprocessor config, as transformers 4 saves it. */
export const PREPROCESSOR = 'preprocessor_config.json';

/** Processor config that contains the preprocessor config, as transformers 5 saves it. */
export const PROCESSOR = 'processor_config.json';
const IN_PROCESSOR = ['image_processor', 'feature_extractor'] as const;

/** CTC vocabulary: ids by token. */
export const VOCABULARY = 'vocab.json';

/** Files of a CTC tokenizer. */
export interface VocabularyFiles {
  /** Content of vocab.json. */
  readonly vocabulary: Json;
  /** Content of tokenizer_config.json. */
  readonly tokenizerConfig: Json;
}

export interface ProcessorFiles {
  readonly tokenizer: TokenizerFiles | null;
  /** CTC vocabulary, read if there is no other tokenizer. */
  readonly vocabulary: VocabularyFiles | null;
  /** Preprocessor config: its part of processor_config.json, or else all of preprocessor_config.json. */
  readonly preprocessor: Json | null;
}

/** Reads the processor files of a model folder. @throws DomainError `invalid_model` if a file is not JSON */
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
