// Finds what a processor needs among the files of a Hugging Face model folder. Native-free.
import { join } from 'node:path';
import {
  parseJson,
  readText,
  TOKENIZER,
  tokenizerFiles,
  type Json,
  type TokenizerFiles,
} from './tokenizer-files.js';

export const PREPROCESSOR = 'preprocessor_config.json';

export interface ProcessorFiles {
  readonly tokenizer: TokenizerFiles | null;
  /** preprocessor_config.json: how pictures and sounds are read. */
  readonly preprocessor: Json | null;
}

/** @throws DomainError `invalid_model` when a file is not JSON */
export function processorFiles(
  folder: string,
  find: (name: string) => string | undefined = (name) => join(folder, name),
): ProcessorFiles {
  const text = readText(find(PREPROCESSOR));
  const preprocessor = text === undefined ? null : parseJson(text, join(folder, PREPROCESSOR));
  const isWithout = readText(find(TOKENIZER)) === undefined;
  return { tokenizer: isWithout ? null : tokenizerFiles(folder, find), preprocessor };
}
