import { METHOD_TITLES } from '../gen/method-titles.js';
import { operationTitle } from './job-kinds.js';
import type { JobObject } from './job-objects.js';

type Peft = Readonly<Record<string, unknown>>;
type Made = Pick<JobObject, 'peft'> & {
  readonly graft: Pick<JobObject['graft'], 'operation'> & { readonly quantization?: unknown };
};

/** LoRA variants with their own name, by the PEFT field and value that select them. */
export const LORA_VARIANTS = {
  DoRA: { use_dora: true },
  rsLoRA: { use_rslora: true },
  PiSSA: { init_lora_weights: 'pissa' },
  OLoRA: { init_lora_weights: 'olora' },
  EVA: { init_lora_weights: 'eva' },
  CorDA: { init_lora_weights: 'corda' },
  'LoRA-GA': { init_lora_weights: 'lora_ga' },
  LoftQ: { init_lora_weights: 'loftq' },
  MiCA: { init_lora_weights: 'mica' },
} as const satisfies Readonly<Record<string, Peft>>;

/** LoRA variants that any value of a PEFT field selects. */
const CONFIGURED: Readonly<Record<string, string>> = {
  'BD-LoRA': 'use_bdlora',
  KaSA: 'kasa_config',
  VeLoRA: 'velora_config',
  MonteCLoRA: 'monteclora_config',
  aLoRA: 'alora_invocation_tokens',
};

/** Methods with about 1 % of LoRA's parameters, in the order in which they are suggested. */
export const SMALLEST_METHODS: readonly string[] = ['IA3', 'VERA', 'PROMPT_TUNING', 'LN_TUNING'];

/**
 * LoRA variant with its own name. Without a `value`, any value of the field but null and false selects it.
 */
export interface LoraVariant {
  readonly name: string;
  readonly field: string;
  readonly value?: unknown;
}

const VARIANTS: readonly LoraVariant[] = [
  ...Object.entries(LORA_VARIANTS).flatMap(([name, fields]) =>
    Object.entries(fields).map(([field, value]) => ({ name, field, value })),
  ),
  ...Object.entries(CONFIGURED).map(([name, field]) => ({ name, field })),
];

/** Prefix of PiSSA with a fast SVD; the number of iterations follows. */
export const FAST_PISSA = 'pissa_niter_';

/** Names of LoRA and its variants on a quantized base. */
const PACKED = { QLoRA: null, QDoRA: 'DoRA' } as const;

/** Method with a common name that is not a `peft_type`. */
export interface NamedMethod {
  readonly name: string;
  readonly variant: LoraVariant | null;
  /** Whether the base is quantized (`graft.quantization`). */
  readonly isPacked: boolean;
}

export const NAMED_METHODS: readonly NamedMethod[] = [
  ...VARIANTS.map((variant) => ({ name: variant.name, variant, isPacked: false })),
  ...Object.entries(PACKED).map(([name, of]) => ({
    name,
    variant: VARIANTS.find((variant) => variant.name === of) ?? null,
    isPacked: true,
  })),
];

const plain = (name: string): string => name.toLowerCase().replaceAll(/[-_ ]/g, '');

/** Returns the method with a name, ignoring case, hyphens, underscores and spaces. */
export const methodCalled = (name: string): NamedMethod | undefined =>
  NAMED_METHODS.find((method) => plain(method.name) === plain(name));

function isVariant(peft: Peft, { field, value }: LoraVariant): boolean {
  const given = peft[field];
  if (value === undefined) return given !== undefined && given !== null && given !== false;
  const isFast = typeof given === 'string' && given.startsWith(FAST_PISSA);
  return (isFast ? 'pissa' : given) === value;
}

const variantsOf = (peft: Peft): readonly LoraVariant[] =>
  peft['peft_type'] === 'LORA' ? VARIANTS.filter((variant) => isVariant(peft, variant)) : [];

/** Returns the common name of a method: LoRA with its variants (QLoRA on a quantized base), otherwise its title. */
export function peftTitle(peft: Peft, quantization: unknown = null): string {
  const type = String(peft['peft_type']);
  if (type !== 'LORA') return METHOD_TITLES[type] ?? type;
  const names = variantsOf(peft).map(({ name }) => name);
  const isPacked = typeof quantization === 'string';
  if (names[0] !== 'DoRA' && (isPacked || names.length === 0)) names.unshift('LoRA');
  return `${isPacked ? 'Q' : ''}${names.join(' + ')}`;
}

/** Returns the fields that `peftTitle` already implies. */
export const fieldsOfTitle = (peft: Peft): readonly string[] => [
  'peft_type',
  ...variantsOf(peft).map(({ field }) => field),
];

/** Returns the title of a job's method, FULL, or the title of its operation on adapters. */
export function methodTitle({ peft, graft: { operation, quantization } }: Made): string {
  if (operation) return operationTitle(operation);
  return peft === null ? 'FULL' : peftTitle(peft, quantization);
}

/** Returns all names that find a job's method in a list: its `peft_type` and common names, `full`, or an operation's type. */
export function methodNames({ peft, graft: { operation, quantization } }: Made): readonly string[] {
  if (operation) return [operation.type];
  if (peft === null) return ['full'];
  const variants = variantsOf(peft);
  const isPacked = peft['peft_type'] === 'LORA' && typeof quantization === 'string';
  const isCalled = ({ variant, isPacked: packed }: NamedMethod): boolean =>
    (isPacked || !packed) && (variant === null || variants.includes(variant));
  const named = NAMED_METHODS.filter(isCalled).map(({ name }) => name);
  return [String(peft['peft_type']), ...named];
}

/** Returns the name of a job's base, with its quantization, if any: "smollm2 (nf4)". */
export const baseText = ({ model, graft }: JobObject): string =>
  typeof graft.quantization === 'string' ? `${model} (${graft.quantization})` : model;
