// README.md of an adapter: the parts of PEFT's model card that tools read, and how to load the adapter.
import { peftTitle } from '@graft/contracts';
import { basename, dirname } from 'node:path';
import { quantizerFor } from '../../quant/registry.js';
import { autoModel, autoPeftModel, type PeftTask } from '../../tasks/task.js';

/** PEFT release whose file format is written. */
export const PEFT_VERSION = '0.21.2';

export interface CardFacts {
  /** Name of the base model's .gguf file; null if it is not one. */
  readonly ggufFile: string | null;
  /** Whether the folder has a config.json with label names. */
  readonly hasLabels: boolean;
  /** Whether the folder has tokenizer files of its own vocabulary. */
  readonly hasLetters?: boolean;
  /** Whether the adapter combines adapters, which are in subfolders. */
  readonly isMixed?: boolean;
  /**
   * Quantizer that quantized the base model for training. Null or omitted if the adapter was trained on the base
   * model's files as they are.
   */
  readonly quantization?: string | null;
  /** Evaluation of the step that the weights come from, if it is the best step so far. */
  readonly evaluation?: CardEvaluation | null;
}

export interface CardEvaluation {
  readonly step: number;
  readonly metric: string;
  readonly value: number;
}

export function adapterCard(
  peft: { readonly peft_type: string } & Readonly<Record<string, unknown>>,
  baseName: string,
  task: PeftTask,
  facts: CardFacts,
): string {
  const { ggufFile, hasLabels, isMixed = false, quantization = null, evaluation = null } = facts;
  const packed = quantization === null ? undefined : quantizerFor(quantization).transformers;
  const held = packed ? `, on the base in ${quantization}, as it is loaded here` : '';
  const tags = [
    `base_model:adapter:${baseName}`,
    peft.peft_type.toLowerCase(),
    'transformers',
  ].sort();
  return [
    '---',
    `base_model: ${JSON.stringify(baseName)}`,
    'library_name: peft',
    `pipeline_tag: ${task.pipeline}`,
    'tags:',
    ...tags.map((tag) => `- ${JSON.stringify(tag)}`),
    '---',
    '',
    `An adapter (${peftTitle(peft, packed ? quantization : null)}) for ${baseName.replaceAll('\n', ' ')}, trained by Graft${held}. Load it with PEFT:`,
    '',
    '```python',
    ...(packed ? ['from transformers import BitsAndBytesConfig', `quantization = ${packed}`] : []),
    ...(ggufFile === null && !hasLabels && !isMixed
      ? withPeft(autoPeftModel(task), packed ? [PACKED] : [])
      : onBase(baseName, autoModel(task), facts, packed ? [PACKED] : [])),
    '```',
    '',
    ...(evaluation ? [bestOf(evaluation), ''] : []),
    '### Framework versions',
    '',
    `- PEFT ${PEFT_VERSION}`,
    '',
  ].join('\n');
}

const bestOf = ({ step, metric, value }: CardEvaluation): string =>
  `These are the weights after step ${step}, the best of the run's evaluations up to then (${metric} ${value.toPrecision(4)}).`;

const FOLDER = '"PATH_OF_THIS_FOLDER"';

/** Keyword argument that passes the variable `quantization`. */
const PACKED = 'quantization_config=quantization';

/** Returns code that loads an adapter and the base model that its config names. */
const withPeft = (autoClass: string, more: readonly string[]): string[] => [
  `from peft import ${autoClass}`,
  `model = ${autoClass}.from_pretrained(${[FOLDER, ...more].join(', ')})`,
];

/**
 * Returns code that loads the base model separately. PEFT's config has no field for a file in a folder (Transformers
 * takes a folder or a hub id, and the file in it), and none for labels, which are in config.json. For a combined
 * adapter the code passes the paths of its adapters.
 */
function onBase(
  baseName: string,
  autoClass: string,
  { ggufFile, hasLabels, hasLetters = false, isMixed = false }: CardFacts,
  more: readonly string[],
): string[] {
  const isFile = ggufFile !== null && basename(baseName) === ggufFile;
  const given = [
    JSON.stringify(isFile ? dirname(baseName) : baseName),
    ...(ggufFile === null ? [] : [`gguf_file=${JSON.stringify(ggufFile)}`]),
    ...(hasLabels ? ['config=config'] : []),
    // the base model may have a head for another vocabulary
    ...(hasLetters ? ['ignore_mismatched_sizes=True'] : []),
    ...more,
  ];
  return [
    `from peft import ${isMixed ? 'PeftConfig, ' : ''}PeftModel`,
    `from transformers import ${hasLabels ? 'AutoConfig, ' : ''}${autoClass}${hasLetters ? ', AutoTokenizer' : ''}`,
    ...(hasLabels ? [`config = AutoConfig.from_pretrained(${FOLDER})`] : []),
    `base = ${autoClass}.from_pretrained(${given.join(', ')})`,
    ...(isMixed ? ofParts() : [`model = PeftModel.from_pretrained(base, ${FOLDER})`]),
    ...(hasLetters ? [`tokenizer = AutoTokenizer.from_pretrained(${FOLDER})`] : []),
  ];
}

const ofParts = (): string[] => [
  'base.config.use_cache = False',
  `folder = ${FOLDER}`,
  'config = PeftConfig.from_pretrained(folder)',
  'config.adapters = {name: f"{folder}/{name}" for name in config.adapters}',
  'model = PeftModel.from_pretrained(base, folder, config=config)',
];
