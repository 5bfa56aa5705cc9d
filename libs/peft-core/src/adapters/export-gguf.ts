// Files for llama.cpp and Ollama: a whole model with a merged adapter, or a LoRA to load with a base.
import { join } from 'node:path';
import { add, mul, tidy, to } from '@graft/kernels';
import { DomainError, type Export, type GgufQuantization } from '@graft/contracts';
import type { Base } from '../io/base/base-folder.js';
import { commitFolderInPieces, type FileFact } from '../io/commit-folder.js';
import { ggufCard } from '../io/gguf/export-card.js';
import { is70B, layoutOf } from '../io/gguf/gguf-layouts.js';
import { generalOfModel, ggufWords, type GgufWords } from '../io/gguf/gguf-model.js';
import { ggufVocabulary } from '../io/gguf/gguf-vocabulary.js';
import { writeGguf, type GgufOut } from '../io/gguf/gguf-writer.js';
import { writeWholeText } from '../io/whole-file.js';
import { endsOf, ollamaModelfile, templateOf } from '../io/gguf/ollama-modelfile.js';
import type { GgufField } from '../models/frame/gguf-format.js';
import type { Model } from '../models/model.js';
import type { ModelOptions } from '../nn/outline/stack-options.js';
import { loraFactors, type AdapterFile, type FactorPair } from './lora-factors.js';
import type { WholeWeight } from './merge.js';
import { FACTOR_WORDS } from './supported.js';
import type { Work } from './work.js';

export interface GgufTarget {
  readonly base: Base;
  readonly baseName: string;
  /** Working directory of the attempt; the result is `adapter/` in it. */
  readonly workDir: string;
  readonly onLog?: (level: 'info' | 'warn', message: string) => void;
}

const wordsOf = ({ config, options }: Model): GgufWords =>
  ggufWords(config.model_type, options as ModelOptions);

/** Checks an export before anything is computed. @throws DomainError for a base that Graft cannot write as GGUF */
export function checkGguf({ base }: Pick<GgufTarget, 'base'>, { format }: Export): void {
  wordsOf(base.model);
  if (format === 'gguf') vocabularyOf(base);
}

/** Writes a whole model with its tokenizer. @param weights by Hugging Face names */
export function* writeGgufModel(
  target: GgufTarget,
  weights: ReadonlyMap<string, WholeWeight>,
  quantization: GgufQuantization,
): Work<FileFact[]> {
  const { base, baseName } = target;
  const words = wordsOf(base.model);
  const fields = new Map<string, GgufField>([
    ...generalOfModel(words.architecture, baseName, quantization),
    ...words.fields,
    ...vocabularyOf(base),
  ]);
  const placed = [...weights].map(([name, weight]) => ({
    ...weight,
    ...words.place(name, weight.shape[0] as number),
  }));
  const choice = {
    quantization,
    blocks: base.model.layers,
    hasOutput: placed.some(({ name }) => name === 'output.weight'),
    is70B: is70B(words.architecture, base.model),
  };
  const tensors = placed.map(({ name, order, shape, shift, make }): GgufOut => ({
    name,
    shape,
    layout: layoutOf(name, shape, choice),
    order,
    make: () => (shift === 0 ? make() : add(to(make(), 'f32'), shift)),
  }));
  const { ropeFactors } = words;
  if (ropeFactors) {
    const shape = tidy(() => ropeFactors().shape);
    tensors.unshift({
      name: 'rope_freqs.weight',
      shape,
      layout: 'F32',
      order: null,
      make: ropeFactors,
    });
  }
  const file = `model-${quantization}.gguf`;
  return yield* committed(target, file, fields, tensors, (dir) => {
    writeWholeText(
      join(dir, 'Modelfile'),
      ollamaModelfile(base, { from: file, adapter: null }, target.onLog),
    );
    writeWholeText(join(dir, 'README.md'), ggufCard(baseName, file, null));
  });
}

const LORA_WORDS = FACTOR_WORDS.gguf_adapter;

/**
 * Writes a LoRA in the layout of llama.cpp's convert_lora_to_gguf: `<module>.weight.lora_a` [r, in] and `.lora_b` [out,
 * r], with the rows of B ordered as the weight's. llama.cpp's scale is alpha / r with one alpha for all modules; B
 * includes any other scale of a module.
 */
export function* writeGgufAdapter(target: GgufTarget, source: AdapterFile): Work<FileFact[]> {
  const { base, baseName } = target;
  const words = wordsOf(base.model);
  const { options, modules } = loraFactors(source, 'model', LORA_WORDS);
  const alpha = options.lora_alpha;
  const tensors = [...modules].flatMap(([path, pair]) => factorsOf(words, path, pair, alpha));
  const fields = new Map<string, GgufField>([
    ['general.architecture', { string: words.architecture }],
    ['general.type', { string: 'adapter' }],
    ['general.name', { string: baseName }],
    ['general.file_type', { u32: 0 }],
    ['adapter.type', { string: 'lora' }],
    ['adapter.lora.alpha', { f32: alpha }],
  ]);
  const file = 'adapter.gguf';
  return yield* committed(target, file, fields, tensors, (dir) => {
    const from = { from: 'base.gguf', adapter: file };
    writeWholeText(join(dir, 'Modelfile'), ollamaModelfile(base, from, target.onLog));
    writeWholeText(join(dir, 'README.md'), ggufCard(baseName, 'base.gguf', file));
  });
}

function factorsOf(
  words: GgufWords,
  path: string,
  { a, b, scale, isTable }: FactorPair,
  alpha: number,
): GgufOut[] {
  if (isTable)
    throw new DomainError(
      'unsupported',
      `model: ${path} is an embedding, whose LoRA ${LORA_WORDS.lacks}; export the whole model with format "gguf"`,
      'model',
    );
  const { name, order } = words.place(`${path}.weight`, b.shape[0] as number);
  const rest = (scale * (a.shape[0] as number)) / alpha;
  const part = (
    letter: string,
    shape: readonly number[],
    more: Pick<GgufOut, 'order' | 'make'>,
  ) => ({
    name: `${name}.lora_${letter}`,
    shape,
    layout: 'F32' as const,
    ...more,
  });
  return [
    part('a', a.shape, { order: null, make: () => mul(a, 1) }),
    part('b', b.shape, { order, make: () => mul(b, rest) }),
  ];
}

function vocabularyOf(base: Base): Map<string, GgufField> {
  const { model, tokenizer, tokenizerFiles } = base;
  if (tokenizerFiles === null)
    throw new DomainError('unsupported', 'the base model has no tokenizer to export', 'model');
  const { bos, isClosed } = endsOf(base);
  const fields = ggufVocabulary(tokenizerFiles, {
    rows: model.vocabSize,
    eosIds: tokenizer.eosIds,
    addsBos: bos !== null,
    addsEos: isClosed,
    beginsSpecial: tokenizer.hasTemplate,
  });
  const template = templateOf(tokenizerFiles);
  if (template !== null) fields.set('tokenizer.chat_template', { string: template });
  return fields;
}

/** Publishes the result directory with its large file. */
const committed = (
  { workDir }: GgufTarget,
  file: string,
  fields: ReadonlyMap<string, GgufField>,
  tensors: readonly GgufOut[],
  addSmall: (dir: string) => void,
): Work<FileFact[]> =>
  commitFolderInPieces(
    join(workDir, 'adapter'),
    (parts) => writeGguf(join(parts, file), fields, tensors),
    addSmall,
  );
