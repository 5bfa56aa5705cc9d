// Methods as users choose them: every method of the catalog, and LoRA's variants as methods of their own.
import type { Catalog, CatalogMethod, CatalogTask } from '@graft/contracts';
import { LORA_VARIANTS, SMALLEST_METHODS } from '@graft/contracts/job-method';
import type { Draft } from './job-draft.js';

type Values = Readonly<Record<string, string>>;

/** A method with the options that distinguish it. */
export interface Configuration {
  /** Name of a `peft_type` or of a variant. Unique. */
  readonly name: string;
  readonly title: string;
  readonly method: CatalogMethod;
  /** Options of the method that select the variant, as typed. */
  readonly peft: Values;
  /** Quantization of the base model, for QLoRA and QDoRA. */
  readonly quantization: string;
  /** Purpose, in a sentence. */
  readonly goodFor: string;
  readonly group: string;
}

const typed = (fields: Readonly<Record<string, unknown>>): Values =>
  Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      typeof value === 'string' ? value : JSON.stringify(value),
    ]),
  );

interface Variant {
  readonly peft: Values;
  readonly quantization?: string;
  readonly goodFor: string;
}

/** LoRA's variants that need no further options. */
const VARIANTS: Readonly<Record<string, Variant>> = {
  DoRA: {
    peft: typed(LORA_VARIANTS.DoRA),
    goodFor: 'Trains magnitude and direction separately: often better at low ranks, slower.',
  },
  rsLoRA: {
    peft: typed(LORA_VARIANTS.rsLoRA),
    goodFor: 'Keeps high ranks stable. For ranks of 64 and more.',
  },
  QLoRA: {
    peft: {},
    quantization: 'nf4',
    goodFor: 'LoRA on a base model in 4 bits: fits models four times as large.',
  },
  QDoRA: {
    peft: typed(LORA_VARIANTS.DoRA),
    quantization: 'nf4',
    goodFor: 'DoRA on a base model in 4 bits.',
  },
  PiSSA: {
    peft: typed(LORA_VARIANTS.PiSSA),
    goodFor: 'Starts from the principal components of each weight: learns faster.',
  },
  OLoRA: {
    peft: typed(LORA_VARIANTS.OLoRA),
    goodFor: 'Starts from an orthonormal basis of each weight: stable at high rates.',
  },
  EVA: {
    peft: typed(LORA_VARIANTS.EVA),
    goodFor: 'Starts from the directions that your data uses most, and spreads the rank.',
  },
  CorDA: {
    peft: typed(LORA_VARIANTS.CorDA),
    goodFor: 'Starts from the components of each weight that your data uses most.',
  },
  'LoRA-GA': {
    peft: typed(LORA_VARIANTS['LoRA-GA']),
    goodFor: 'Starts along the gradient of full fine-tuning: fewer steps to the same loss.',
  },
  LoftQ: {
    peft: typed(LORA_VARIANTS.LoftQ),
    goodFor: 'Starts by correcting the rounding of a quantized base model.',
  },
  MiCA: {
    peft: typed(LORA_VARIANTS.MiCA),
    goodFor: 'Trains the minor components only: changes what the model knows least.',
  },
  KaSA: {
    peft: { kasa_config: '{}' },
    goodFor: 'Replaces the minor components of each weight. Filters noise of small data sets.',
  },
  VeLoRA: {
    peft: { velora_config: '{"init_type":"random"}' },
    goodFor: 'Compresses activations for the gradient: less memory on long texts.',
  },
  MonteCLoRA: {
    peft: { monteclora_config: '{}' },
    goodFor: 'Samples the update during training: robust to learning rate and seed.',
  },
};

/** Largest size, relative to LoRA, of a "very small" adapter. */
const SMALL = 0.02;

function groupOf({ peft_type: type, prompts, relative_size: size }: CatalogMethod): string {
  if (type === 'LORA') return 'LoRA and its variants';
  if (prompts) return 'Prompts and prefixes';
  return size !== null && size <= SMALL ? 'Very small adapters' : 'Other weight updates';
}

/** Returns all configurations: each method of the catalog, and the variants of LoRA after it. */
export const configurations = (methods: readonly CatalogMethod[]): readonly Configuration[] =>
  methods.flatMap((method) => {
    const own: Configuration = {
      name: method.peft_type,
      title: method.title,
      method,
      peft: {},
      quantization: '',
      goodFor: method.summary,
      group: groupOf(method),
    };
    if (method.peft_type !== 'LORA') return [own];
    const variants = Object.entries(VARIANTS).map(
      ([name, { peft, quantization = '', goodFor }]): Configuration => ({
        ...own,
        name,
        title: name,
        peft,
        quantization,
        goodFor,
      }),
    );
    return [own, ...variants];
  });

const isWithin = (part: Values, values: Values): boolean =>
  Object.entries(part).every(([name, value]) => values[name] === value);

/** Returns the configuration of the form: the most specific one whose options are set. */
export function configurationOf(
  draft: Pick<Draft, 'method' | 'peft' | 'graft'>,
  all: readonly Configuration[],
): Configuration | undefined {
  const type = draft.method === '' ? all[0]?.method.peft_type : draft.method;
  const quantization = draft.graft['quantization'] ?? '';
  const size = ({ peft, quantization: q }: Configuration) =>
    Object.keys(peft).length + (q === '' ? 0 : 1);
  return all
    .filter(
      (one) =>
        one.method.peft_type === type &&
        isWithin(one.peft, draft.peft) &&
        (one.quantization === '' || quantization !== ''),
    )
    .sort((a, b) => size(b) - size(a))[0];
}

/** Returns the change that selects a configuration. Options of the previous method do not apply. */
export const withConfiguration = (
  { graft }: Draft,
  { method, peft, quantization }: Configuration,
  more: Values = {},
): Partial<Draft> => ({
  method: method.peft_type,
  peft: { ...peft, ...more },
  graft: { ...graft, quantization },
});

/** A choice of the three cards. */
export interface Suggestion {
  readonly name: 'recommended' | 'smallest' | 'thorough';
  readonly badge: string;
  readonly configuration: Configuration;
  readonly title: string;
  readonly text: string;
  readonly peft: Values;
}

/** Returns the suggestions for a task. */
export function suggestionsFor(
  task: CatalogTask,
  all: readonly Configuration[],
): readonly Suggestion[] {
  const usable = all.filter(({ method }) => method.tasks.includes(task.name));
  const called = (name: string) => usable.find((one) => one.name === name);
  const first = called('LORA') ?? usable[0];
  const smallest = SMALLEST_METHODS.map(called).find(Boolean);
  const thorough = called('DoRA');
  return [
    ...(first
      ? [
          {
            name: 'recommended' as const,
            badge: 'Recommended',
            configuration: first,
            title: first.name === 'LORA' ? 'LoRA, rank 16' : first.title,
            text: 'Fast, small, and usually as good as full fine-tuning.',
            peft: {},
          },
        ]
      : []),
    ...(smallest
      ? [
          {
            name: 'smallest' as const,
            badge: 'Smallest',
            configuration: smallest,
            title: smallest.title,
            text: 'About 1 % of LoRA’s size. For simple tasks and many adapters.',
            peft: {},
          },
        ]
      : []),
    ...(thorough
      ? [
          {
            name: 'thorough' as const,
            badge: 'Most thorough',
            configuration: thorough,
            title: 'DoRA, rank 32',
            text: 'For hard tasks and more data. About twice the time.',
            peft: { r: '32', lora_alpha: '64' },
          },
        ]
      : []),
  ];
}

/** Returns the suggestion that the form has selected. */
export const suggestionOf = (
  draft: Draft,
  chosen: Configuration | undefined,
  suggestions: readonly Suggestion[],
): Suggestion | null =>
  suggestions.find(({ configuration, peft }) => {
    if (configuration !== chosen) return false;
    const main = ['r', 'lora_alpha'].filter((name) => (draft.peft[name] ?? '') !== '');
    return isWithin(peft, draft.peft) && main.length === Object.keys(peft).length;
  }) ?? null;

/** Returns "≈ 1/80 of LoRA" or similar; null if the size depends on options. */
export function sizeText({ method }: Configuration): string | null {
  if (method.peft_type === 'FULL') return 'all parameters';
  const share = method.relative_size;
  if (share === null) return null;
  if (share > 1.5) return `${Math.round(share)} × LoRA’s parameters`;
  const part = 1 / share;
  const rounded = part < 10 ? Math.round(part) : Math.round(part / 10) * 10;
  return rounded <= 1 ? 'as many parameters as LoRA' : `≈ 1/${rounded} of LoRA’s parameters`;
}

/** Returns the exports that work for a task: "merge, GGUF, vLLM". */
export function exportsText({ method }: Configuration, task: CatalogTask): string {
  if (task.use !== 'chat') return 'exports: PEFT';
  if (method.peft_type === 'FULL') return 'exports: model, GGUF';
  const lora = method.peft_type === 'LORA' || method.converts_to_lora;
  const found = ['PEFT', ...(method.merges ? ['merged', 'GGUF'] : []), ...(lora ? ['vLLM'] : [])];
  return `exports: ${found.join(', ')}`;
}

/** Returns the catalog's configurations that support a task, and the reason for the others. */
export const supports = ({ method }: Configuration, { name }: CatalogTask): boolean =>
  method.tasks.includes(name);

export const catalogConfigurations = ({ methods }: Catalog): readonly Configuration[] =>
  configurations(methods);
