import { operationTitle } from './job-kinds.js';
import type { JobObject } from './openai.js';

type Peft = Readonly<Record<string, unknown>>;
type Made = Pick<JobObject, 'peft'> & {
  readonly graft: Pick<JobObject['graft'], 'operation'> & { readonly quantization?: unknown };
};

/** LoRAs that have names of their own, by the field that makes them. */
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

/** The same where any value makes them. */
const CONFIGURED: Readonly<Record<string, string>> = {
  'BD-LoRA': 'use_bdlora',
  KaSA: 'kasa_config',
  VeLoRA: 'velora_config',
  MonteCLoRA: 'monteclora_config',
  aLoRA: 'alora_invocation_tokens',
};

const TITLES: Readonly<Record<string, string>> = { LORA: 'LoRA', ADALORA: 'AdaLoRA' };

/** Names of a LoRA's variants, each with the field that it says. */
function variantsOf(peft: Peft): [name: string, field: string][] {
  if (peft['peft_type'] !== 'LORA') return [];
  const init = peft['init_lora_weights'];
  const isPissa = typeof init === 'string' && init.startsWith('pissa_niter_');
  const whole: Peft = isPissa ? { ...peft, init_lora_weights: 'pissa' } : peft;
  return [
    ...Object.entries(LORA_VARIANTS).flatMap(([name, fields]) =>
      Object.entries(fields)
        .filter(([field, value]) => whole[field] === value)
        .map(([field]): [string, string] => [name, field]),
    ),
    ...Object.entries(CONFIGURED).filter(
      ([, field]) => peft[field] !== undefined && peft[field] !== null && peft[field] !== false,
    ),
  ];
}

/** What people call a method: LoRA by its variants, and on a packed base QLoRA; most others by their peft_type. */
export function peftTitle(peft: Peft, quantization: unknown = null): string {
  const type = String(peft['peft_type']);
  if (type !== 'LORA') return TITLES[type] ?? type;
  const names = variantsOf(peft).map(([name]) => name);
  const isPacked = typeof quantization === 'string';
  if (names[0] !== 'DoRA' && (isPacked || names.length === 0)) names.unshift('LoRA');
  return `${isPacked ? 'Q' : ''}${names.join(' + ')}`;
}

/** Fields that the title says, and that need not be told again. */
export const fieldsOfTitle = (peft: Peft): readonly string[] => [
  'peft_type',
  ...variantsOf(peft).map(([, field]) => field),
];

/** What makes a job's model, as people call it: its method, FULL, or an operation on adapters. */
export function methodTitle({ peft, graft: { operation, quantization } }: Made): string {
  if (operation) return operationTitle(operation);
  return peft === null ? 'FULL' : peftTitle(peft, quantization);
}

/** The same in the words of a request: the peft_type. */
export function methodOf({ peft, graft: { operation } }: Made): string {
  if (operation) return operation.type;
  const type = peft?.['peft_type'];
  return typeof type === 'string' ? type : 'FULL';
}

/** A job's base, and how it is held where it is packed: "smollm2 in nf4". */
export const baseText = ({ model, graft }: JobObject): string =>
  typeof graft.quantization === 'string' ? `${model} in ${graft.quantization}` : model;
