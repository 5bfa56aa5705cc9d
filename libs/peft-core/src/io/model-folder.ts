import { join } from 'node:path';
import type { Tensor } from '@graft/kernels';
import type { TokenizerFiles } from '../data/tokenizer-files.js';
import type { HfConfig } from '../models/model.js';
import { pythonJson } from './python-json.js';
import { writeSafetensors } from './safetensors.js';
import { SINGLE } from './weight-files.js';
import { writeWholeText } from './whole-file.js';

const DTYPE_NAMES: ReadonlyMap<string, string> = new Map([
  ['bf16', 'bfloat16'],
  ['f16', 'float16'],
  ['f32', 'float32'],
]);

/** Writes a whole model as transformers' save_pretrained does, with its tokenizer. Returns the names of the files. */
export function writeModel(
  dir: string,
  tensors: ReadonlyMap<string, Tensor>,
  base: { readonly config: HfConfig; readonly tokenizerFiles: TokenizerFiles },
): string[] {
  writeSafetensors(join(dir, SINGLE), tensors, { format: 'pt' });
  const [first] = tensors.values();
  const { torch_dtype: _, ...config } = base.config;
  const { tokenizerJson, tokenizerConfig, chatTemplate, generationConfig } = base.tokenizerFiles;
  const files = new Map<string, string>([
    [
      'config.json',
      pythonJson({ ...config, dtype: DTYPE_NAMES.get(first?.dtype ?? 'f32') ?? 'float32' }),
    ],
    ['tokenizer.json', tokenizerJson],
    [
      'tokenizer_config.json',
      pythonJson({ tokenizer_class: 'PreTrainedTokenizerFast', ...tokenizerConfig }),
    ],
  ]);
  if (typeof chatTemplate === 'string') files.set('chat_template.jinja', chatTemplate);
  if (generationConfig && Object.keys(generationConfig).length > 0) {
    files.set('generation_config.json', pythonJson(generationConfig));
  }
  for (const [name, text] of files) writeWholeText(join(dir, name), text);
  return [SINGLE, ...files.keys()].sort();
}
