// Reads a LoRA's file as products of two factors, which can be combined and loaded by other programs: ΔW = scale B A.
import { DomainError } from '@graft/contracts';
import type { Tensor } from '@graft/kernels';
import { parsePeft, type PeftConfig } from '../methods/frame/config.js';
import { lora, loraSizes, type LoraOptions } from '../methods/lora.js';
import { checkPlain } from '../methods/lora/plain-lora.js';
import type { Words } from '../methods/lora/plain-lora.js';
import type { NamedTensors } from '../methods/method.js';

/** Adapter as stored in its file, with Graft's tensor names. */
export interface AdapterFile {
  readonly peft: NonNullable<PeftConfig>;
  readonly tensors: NamedTensors;
}

/** Factors of one adapter at one module; `isTable`: the module is the token embedding. */
export interface FactorPair {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly scale: number;
  readonly isTable: boolean;
}

export interface LoraFactors {
  readonly options: LoraOptions;
  /** Factors by module path. */
  readonly modules: ReadonlyMap<string, FactorPair>;
}

/**
 * Returns the factors of an adapter. @throws DomainError naming the part that is not a product of two factors, in the
 * caller's words
 */
export function loraFactors(
  { peft, tensors }: AdapterFile,
  param: string,
  words: Words,
): LoraFactors {
  const { lacks } = words;
  if (peft.peft_type !== lora.name)
    refuse(param, `${peft.peft_type} ${lacks}; convert it to LORA first`, 'unsupported');
  const options = loraOptions(peft, param);
  checkPlain(options, param, words);
  const sizeOf = loraSizes(options);
  const modules = new Map<string, FactorPair>();
  for (const [name, tensor] of tensors) {
    const [, path, table = '', letter] = /^(.+)\.lora_(embedding_)?([AB])$/.exec(name) ?? [];
    if (path === undefined)
      refuse(param, `${name} is not lora_A or lora_B of a module, and ${lacks}`);
    if (tensor.shape.length > 2)
      refuse(param, `${path} is a convolution, whose update ${lacks}`, 'unsupported');
    const b = tensors.get(`${path}.lora_${table}B`);
    if (letter === 'B') {
      if (!tensors.has(`${path}.lora_${table}A`))
        refuse(param, `${path} has lora_B without lora_A`);
    } else if (b === undefined) refuse(param, `${path} has lora_A without lora_B`);
    else modules.set(path, { a: tensor, b, scale: sizeOf(path).scale, isTable: table !== '' });
  }
  return { options, modules };
}

function loraOptions(peft: NonNullable<PeftConfig>, param: string): LoraOptions {
  try {
    return parsePeft(peft).options as LoraOptions;
  } catch (error) {
    if (error instanceof DomainError) refuse(param, error.message, error.code);
    throw error;
  }
}

function refuse(param: string, what: string, code: DomainError['code'] = 'invalid_value'): never {
  throw new DomainError(code, `${param}: ${what}`, param);
}
