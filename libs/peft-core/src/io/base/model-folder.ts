import { join } from 'node:path';
import { dtypeSize } from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import { PREPROCESSOR, VOCABULARY, type VocabularyFiles } from '../../data/processor-files.js';
import {
  TOKENIZER,
  TOKENIZER_CONFIG,
  type Json,
  type TokenizerFiles,
} from '../../data/text/tokenizer-files.js';
import type { HfConfig } from '../../nn/hf-files.js';
import { asFilesCall } from './file-names.js';
import { pythonJson } from '../python-json.js';
import { writeShards } from './shards.js';
import type { LazyTensor } from './shards.js';
import { writeWholeText } from '../whole-file.js';

const DTYPE_NAMES: ReadonlyMap<string, string> = new Map([
  ['bf16', 'bfloat16'],
  ['f16', 'float16'],
  ['f32', 'float32'],
]);

/**
 * Removes auto_map from a config: the written folder has no code, and readers that trust it would run someone
 * else's.
 */
export const withoutCode = <T extends object>(config: T): Omit<T, 'auto_map'> => {
  const { auto_map: _, ...rest } = config as T & { readonly auto_map?: unknown };
  return rest;
};

/** Keys for which transformers 5 rejects integers: 1 is written as 1.0. */
const REAL_KEYS: ReadonlySet<string> = new Set([
  'attn_logit_softcapping',
  'clip_qkv',
  'decoder_layerdrop',
  'embedding_fraction',
  'encoder_layerdrop',
  'final_logit_softcapping',
  'init_std',
  'initializer_cutoff_factor',
  'initializer_factor',
  'initializer_range',
  'layer_norm_eps',
  'layer_norm_epsilon',
  'norm_eps',
  'rms_norm_eps',
  'router_aux_loss_coef',
  'router_jitter_noise',
  'softmax_scale',
]);

/** Text of a config.json without custom code. */
export const configJson = (config: object): string =>
  pythonJson(withoutCode(config), (key) => REAL_KEYS.has(key));

interface ModelFiles {
  readonly config: HfConfig;
  readonly tokenizerFiles: TokenizerFiles | null;
  readonly vocabularyFiles?: VocabularyFiles | null;
  readonly preprocessor?: Json | null;
}

/**
 * Writes a whole model as transformers' save_pretrained does, with its processor. Returns the names of the
 * files.
 */
export function writeModel(
  dir: string,
  tensors: ReadonlyMap<string, Tensor>,
  base: ModelFiles,
): string[] {
  const lazy = [...tensors].map(([name, tensor]): [string, LazyTensor] => [
    name,
    { bytes: tensor.size * dtypeSize(tensor.dtype), make: () => tensor },
  ]);
  const [first] = tensors.values();
  return writeWeights(dir, new Map(lazy), first?.dtype ?? 'f32', base);
}

/**
 * Same as `writeModel`, for weights of one dtype that are created one file at a time.
 * @param most bytes per file
 */
export function writeWeights(
  dir: string,
  weights: ReadonlyMap<string, LazyTensor>,
  dtype: Dtype,
  base: ModelFiles,
  most?: number,
): string[] {
  const shards = writeShards(dir, asFilesCall(weights, base.config), most);
  // the written weights are not quantized
  const { torch_dtype: _, quantization_config: __, gguf: ___, ...config } = base.config;
  const files = new Map<string, string>([
    ['config.json', configJson({ ...config, dtype: DTYPE_NAMES.get(dtype) ?? 'float32' })],
    ...(base.tokenizerFiles ? tokenizerTexts(base.tokenizerFiles) : []),
    ...(base.vocabularyFiles ? vocabularyTexts(base.vocabularyFiles) : []),
    ...(base.preprocessor
      ? [[PREPROCESSOR, pythonJson(withoutCode(base.preprocessor))] as const]
      : []),
  ]);
  for (const [name, text] of files) writeWholeText(join(dir, name), text);
  return [...shards, ...files.keys()].sort();
}

/** Texts of the files of a CTC tokenizer by name, as transformers reads them. */
export const vocabularyTexts = ({
  vocabulary,
  tokenizerConfig,
}: VocabularyFiles): Map<string, string> =>
  new Map([
    [VOCABULARY, pythonJson(vocabulary)],
    [TOKENIZER_CONFIG, pythonJson(withoutCode(tokenizerConfig))],
  ]);

function tokenizerTexts({
  tokenizerJson,
  tokenizerConfig,
  chatTemplate,
  generationConfig,
}: TokenizerFiles): Map<string, string> {
  const config = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    ...withoutCode(tokenizerConfig ?? {}),
  };
  const files = new Map([
    [TOKENIZER, tokenizerJson],
    [TOKENIZER_CONFIG, pythonJson(config)],
  ]);
  if (typeof chatTemplate === 'string') files.set('chat_template.jinja', chatTemplate);
  if (generationConfig && Object.keys(generationConfig).length > 0)
    files.set('generation_config.json', pythonJson(generationConfig));
  return files;
}
