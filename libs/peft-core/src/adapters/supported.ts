// Operations that an adapter supports, computed from its config, its task and its base's config.json. Requires no
// native code.
import { DomainError, MODEL_OPERATIONS, type ModelOperation, type Spec } from '@graft/contracts'; // prettier-ignore
import { parsePeft, type PeftConfig } from '../methods/frame/config.js';
import { lora, type LoraOptions } from '../methods/lora.js';
import type { Method } from '../methods/method.js';
import { checkPlain, type Words } from '../methods/lora/plain-lora.js';
import type { HfConfig } from '../nn/hf-files.js';
import { ggufModelTypes } from '../models/registry.js';
import { footprintOf, type BaseFootprint } from '../methods/frame/base-footprint.js';
import { headOf } from '../tasks/heads/head-request.js';
import { taskFor } from '../tasks/registry.js';

/** Adapter or model that an operation is applied to. */
export interface Operand {
  /** Config as in adapter_config.json; null: a whole model. */
  readonly peft: PeftConfig;
  /** Task that it was trained for; null: an unchanged base. */
  readonly task: Pick<Spec, 'task' | 'task_options'> | null;
  /** config.json of its base; null if unknown. */
  readonly base: HfConfig | null;
  /** model_type of the base or of the whole model; null if unknown. */
  readonly family: string | null;
}

/** Terms in error messages about parts that are not a product of two factors. */
export const FACTOR_WORDS = {
  combine: { lacks: 'does not support weighted combination', cannot: 'cannot be combined' },
  vllm: { lacks: 'is not supported by vLLM', cannot: 'cannot be exported for vLLM' },
  gguf_adapter: {
    lacks: 'is not supported in a GGUF adapter',
    cannot: 'cannot be written to a GGUF adapter',
  },
} as const satisfies Partial<Record<ModelOperation, Words>>;

/** Checks that an operation is possible. @throws DomainError unsupported, with the reason */
export function checkOperation(operation: ModelOperation, operand: Operand, param: string): void {
  const why = refusal(operation, operand, param);
  if (why !== null) throw new DomainError('unsupported', `${param}: ${why}`, param);
}

/** Returns the operations that are possible. */
export const operationsOf = (operand: Operand): ModelOperation[] =>
  MODEL_OPERATIONS.filter((operation) => {
    try {
      checkOperation(operation, operand, 'model');
      return true;
    } catch (error) {
      if (error instanceof DomainError) return false;
      throw error;
    }
  });

/** Returns the highest rank of a LoRA's modules; null for other methods. */
export function loraRank({ peft }: Operand): number | null {
  if (peft === null) return null;
  const { method, options } = parsePeft(peft);
  if (method.name !== lora.name) return null;
  const { r, rank_pattern: ranks } = options as LoraOptions;
  return Math.max(r, ...Object.values(ranks));
}

function refusal(operation: ModelOperation, operand: Operand, param: string): string | null {
  const isGguf = operation === 'gguf' || operation === 'gguf_adapter';
  const unwritten = isGguf && operand.family !== null ? familyRefusal(operand.family) : null;
  if (unwritten !== null) return unwritten;
  const { peft } = operand;
  if (peft === null && operation !== 'gguf') return 'a whole model is not an adapter';
  if (operation === 'gguf' || operation === 'merge') return mergeRefusal(operand);
  return operation === 'convert'
    ? convertRefusal(operand, peft as NonNullable<PeftConfig>)
    : factorsRefusal(operand, peft as NonNullable<PeftConfig>, param, FACTOR_WORDS[operation]);
}

function familyRefusal(family: string): string | null {
  const types = ggufModelTypes();
  if (types.includes(family)) return null;
  return `${family} models cannot be written as GGUF; those that can: ${types.join(', ')}`;
}

function mergeRefusal({ peft, task, base }: Operand): string | null {
  if (task && (headOf(task) || taskFor(task.task).peft.hasHead === false))
    return `only models that generate text can be merged; load an adapter of task ${task.task} on its base model instead`;
  if (peft === null) return null;
  const { method } = parsePeft(peft);
  const why = method.unmerged ?? footprint(peft, task, base)?.unmerged;
  return why === undefined ? null : `${method.name} cannot be merged: ${why}`;
}

/** Returns why PEFT's convert_to_lora, or Graft's, does not support a method with these fields; null if it does. */
export function configRefusal(
  { name, convertsToLora }: Pick<Method, 'name' | 'convertsToLora'>,
  config: Readonly<Record<string, unknown>>,
): string | null {
  if (!convertsToLora)
    return `${name} cannot be converted to LORA, as in PEFT: its update is not a dense matrix added to the weight`;
  if (config['kasa_config']) return 'kasa_config cannot be converted to LORA, as in PEFT';
  if (config['lora_bias'] === true) return 'lora_bias cannot be converted to LORA';
  const { bias = 'none', trainable_token_indices: rows = null } = config;
  const parameters = config['target_parameters'] as readonly string[] | null | undefined;
  if (parameters?.length)
    return `target_parameters (${parameters.join(', ')}) cannot be converted to LORA, as in PEFT`;
  if (bias !== 'none')
    return `bias "${String(bias)}" cannot be converted to LORA, as in PEFT: biases are trained in addition to the update`;
  return rows === null ? null : 'trainable_token_indices cannot be converted to LORA';
}

function convertRefusal({ task, base }: Operand, peft: NonNullable<PeftConfig>): string | null {
  const { method, options } = parsePeft(peft);
  const config = options as Readonly<Record<string, unknown>>;
  const why = configRefusal(method, config);
  if (why !== null) return why;
  if (config['alora_invocation_tokens'])
    return 'alora_invocation_tokens cannot be converted to LORA: the adapter acts on some positions only';
  const { table, convolution } = footprint(peft, task, base) ?? {};
  if (table) return `${table}: PEFT converts linear layers only, not embeddings`;
  if (!convolution) return null;
  return `${convolution}: the update of a convolution cannot be converted to LORA`;
}

function factorsRefusal(
  { task, base }: Operand,
  peft: NonNullable<PeftConfig>,
  param: string,
  words: Words,
): string | null {
  const { method, options } = parsePeft(peft);
  const { lacks } = words;
  if (method.name !== lora.name)
    return method.convertsToLora
      ? `${method.name} ${lacks}; convert it to LORA first`
      : `${method.name} ${lacks}, and cannot be converted to LORA`;
  if (task && headOf(task)) return `the head of task ${task.task} ${lacks}`;
  checkPlain(options as LoraOptions, param, words);
  const { table, convolution } = footprint(peft, task, base) ?? {};
  if (table && words !== FACTOR_WORDS.combine)
    return `${table} is an embedding, whose LoRA ${lacks}; merge it instead`;
  return convolution ? `${convolution} is a convolution, whose update ${lacks}` : null;
}

const footprint = (
  peft: PeftConfig,
  task: Operand['task'],
  base: HfConfig | null,
): BaseFootprint | null => base && footprintOf(peft, base, true, task && headOf(task));
