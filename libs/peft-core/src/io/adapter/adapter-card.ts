// README.md of an adapter: the model card PEFT writes, as far as tools read it, and how to load it.
import { peftTitle } from '@graft/contracts';
import { basename, dirname } from 'node:path';
import { quantizerFor } from '../../quant/registry.js';
import { autoModel, autoPeftModel, type PeftTask } from '../../tasks/task.js';

/** The PEFT release whose files these are. */
export const PEFT_VERSION = '0.21.2';

export interface CardFacts {
  /** Name of the base's .gguf file; null where it is none. */
  readonly ggufFile: string | null;
  /** Whether config.json stands beside it, with the names of labels. */
  readonly hasLabels: boolean;
  /** Whether its tokenizer's files do, too. */
  readonly hasLetters?: boolean;
  /** Whether it is made of adapters, which lie in folders of its own. */
  readonly isMixed?: boolean;
  /** The quantiser by which its base was packed for it; null or left out: the base's files are as it was trained on them. */
  readonly quantization?: string | null;
  /** Of the step whose weights it holds, where it is the best one up to then. */
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

/** Of the variable `quantization`. */
const PACKED = 'quantization_config=quantization';

/** Code that loads an adapter and the base that its config names. */
const withPeft = (autoClass: string, more: readonly string[]): string[] => [
  `from peft import ${autoClass}`,
  `model = ${autoClass}.from_pretrained(${[FOLDER, ...more].join(', ')})`,
];

/**
 * With the base named apart: PEFT's config has no place for a file in a folder (transformers takes a folder or a hub's id,
 * and the file in it), and none for labels, which config.json has. Of one that is made of adapters it is told where they lie.
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
    // a base may have a head for other letters
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
