import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import {
  processorFiles,
  type ProcessorFiles,
  type VocabularyFiles,
} from '../../data/processor-files.js';
import {
  checkTokens,
  parseJson,
  type Json,
  type TokenizerFiles,
} from '../../data/text/tokenizer-files.js';
import { Processor } from '../../data/processor.js';
import type { Tokenizer } from '../../data/text/tokenizer.js';
import { buildModel, precisionOf } from '../../models/registry.js';
import type { Model } from '../../models/model.js';
import type { HfConfig, Tensors } from '../../nn/hf-files.js';
import type { Precision } from '../../nn/precision.js';
import { readGguf } from '../gguf/gguf.js';
import { locate } from './locate.js';
import { invalid } from './weight-files.js';
import { openCheckpoint } from './weights.js';

export interface BaseOptions extends Precision {
  /** Called with the fraction that is read, 0 to 1. */
  readonly onProgress?: (fraction: number) => void;
}

/** A frozen base model with its processor. */
export interface Base {
  readonly model: Model;
  readonly processor: Processor;
  /** Tokenizer of the processor. @throws DomainError if it has none */
  readonly tokenizer: Tokenizer;
  readonly config: HfConfig;
  /** Files of the processor, to save them with a fully fine-tuned model. */
  readonly tokenizerFiles: TokenizerFiles | null;
  readonly vocabularyFiles: VocabularyFiles | null;
  readonly preprocessor: Json | null;
  /** Name of the .gguf file; null for a folder. */
  readonly ggufFile: string | null;
  /** Frees everything, including all tensors of the model. */
  dispose(): void;
}

/**
 * Loads a base: a Hugging Face folder (config.json, tokenizer.json, *.safetensors), a .gguf file, or a folder
 * that contains one. Weights of the requested dtype are mapped from the file without a copy. Matrices that
 * are quantized are read one at a time, so that the whole model is never in memory unquantized.
 * @throws DomainError `invalid_model` or `unsupported`, naming the file and what to do
 */
export function loadBase(path: string, options: BaseOptions): Base {
  const source = locate(path);
  const { config, files, tensors, close } = source.endsWith('.gguf')
    ? openGguf(source, options)
    : openFolder(source, options);
  let [model, processor]: [Model | null, Processor | null] = [null, null];
  const dispose = (): void => {
    processor?.dispose();
    model?.dispose();
    close();
  };
  try {
    model = buildModel(config, tensors, options);
    options.onProgress?.(1);
    processor = Processor.load(files, model);
    if (processor.has('tokenizer')) checkTokens(processor.tokenizer.vocabSize, model.vocabSize);
    const ggufFile = source.endsWith('.gguf') ? basename(source) : null;
    return new LoadedBase(model, processor, { config, files, ggufFile }, dispose);
  } catch (error) {
    dispose();
    throw error;
  }
}

interface Sources {
  readonly config: HfConfig;
  readonly files: ProcessorFiles;
  readonly ggufFile: string | null;
}

class LoadedBase implements Base {
  readonly config: HfConfig;
  readonly tokenizerFiles: TokenizerFiles | null;
  readonly vocabularyFiles: VocabularyFiles | null;
  readonly preprocessor: Json | null;
  readonly ggufFile: string | null;

  constructor(
    readonly model: Model,
    readonly processor: Processor,
    { config, files, ggufFile }: Sources,
    readonly dispose: () => void,
  ) {
    this.config = config;
    this.tokenizerFiles = files.tokenizer;
    this.vocabularyFiles = model.ctc && files.vocabulary;
    this.preprocessor = files.preprocessor;
    this.ggufFile = ggufFile;
  }

  get tokenizer(): Tokenizer {
    return this.processor.tokenizer;
  }
}

interface Opened extends Pick<Sources, 'config' | 'files'> {
  readonly tensors: Tensors;
  close(): void;
}

function openGguf(path: string, { dtype, onProgress }: BaseOptions): Opened {
  const { config, tokenizerJson, tokenizerConfig, tensors, close } = readGguf(path, {
    dtype,
    onProgress,
  });
  const tokenizer = { tokenizerJson, tokenizerConfig, config };
  return { config, files: { tokenizer, vocabulary: null, preprocessor: null }, tensors, close };
}

function openFolder(folder: string, options: BaseOptions): Opened {
  const config = readConfig(folder);
  const files = processorFiles(folder);
  const { dtype, quantization } = precisionOf(config, options);
  const tensors = openCheckpoint(folder, quantization === null ? dtype : null);
  return { config, files, tensors, close: () => tensors.close() };
}

/** Reads config.json of a folder. @throws DomainError `invalid_model` */
export function readConfig(folder: string): HfConfig {
  const path = join(folder, 'config.json');
  const config = parseJson(readFileSync(path, 'utf8'), path);
  if (typeof config['model_type'] === 'string') return config as HfConfig;
  throw invalid(`${path} has no model_type`);
}
