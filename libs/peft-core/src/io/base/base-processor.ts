// The processor of a base, from files whose names and paths differ, as in a blob store. Loads no native code
// except the tokenizers package.
import { readFileSync } from 'node:fs';
import { processorFiles } from '../../data/processor-files.js';
import { parseJson } from '../../data/text/tokenizer-files.js';
import { Tokenizer } from '../../data/text/tokenizer.js';
import { Processor } from '../../data/processor.js';
import type { HfConfig } from '../../nn/hf-files.js';
import { outlineOf } from '../../models/registry.js';
import { checkedHeader } from '../../data/gguf/gguf-checked.js';
import { ggufModel } from '../gguf/gguf-architecture.js';
import { ggufTokenizer } from '../../data/gguf/gguf-tokenizer.js';
import { invalid } from './weight-files.js';

export interface NamedFile {
  readonly name: string;
  readonly path: string;
}

export interface BaseProcessor {
  readonly config: HfConfig;
  readonly processor: Processor;
}

/** @throws DomainError `invalid_model` or `unsupported` */
export function readBaseProcessor(files: readonly NamedFile[]): BaseProcessor {
  const gguf = files.find(({ name }) => name.endsWith('.gguf'));
  if (gguf) {
    const header = checkedHeader(gguf.path);
    const { config } = ggufModel(header);
    const tokenizer = Tokenizer.load({ ...ggufTokenizer(header), config });
    return { config, processor: new Processor({ tokenizer }) };
  }
  const find = (wanted: string): string | undefined =>
    files.find(({ name }) => name === wanted)?.path;
  const path = find('config.json');
  if (path === undefined) throw invalid('the base has no config.json');
  const config = parseJson(readFileSync(path, 'utf8'), 'config.json');
  if (typeof config['model_type'] !== 'string') throw invalid('config.json has no model_type');
  const read = processorFiles('the base', find);
  const reads = read.preprocessor === null ? null : outlineOf(config as HfConfig);
  return { config: config as HfConfig, processor: Processor.load(read, reads) };
}
