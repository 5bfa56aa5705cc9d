// Checks that a LoRA is a plain product of two factors on the unchanged base.
import { DomainError } from '@graft/contracts';
import { takesFromWeight } from './lora-init.js';
import type { LoraOptions } from '../lora.js';

/** Words of the error message for a LoRA that has no plain factors. */
export interface Words {
  readonly lacks: string;
  readonly cannot: string;
}

/** Checks that a LoRA is a plain product of two factors on the base. @throws DomainError if it is not */
export function checkPlain(options: LoraOptions, param: string, { lacks, cannot }: Words): void {
  const { bias, modules_to_save: saved, trainable_token_indices: rows } = options;
  const parameters = options.target_parameters ?? [];
  const convert = 'convert it to LORA first';
  if (options.use_dora) refuse(param, `use_dora ${lacks}; ${convert}`);
  if (options.use_bdlora) refuse(param, `use_bdlora ${lacks}; ${convert}`);
  if (options.alora_invocation_tokens)
    refuse(param, `alora_invocation_tokens ${lacks}: it acts on some tokens only`);
  if (options.velora_config) refuse(param, `velora_config ${lacks}; ${convert}`);
  if (options.monteclora_config) refuse(param, `monteclora_config ${lacks}; ${convert}`);
  if (options.kasa_config) refuse(param, `kasa_config ${lacks}`);
  if (options.lora_bias) refuse(param, `lora_bias ${lacks}`);
  if (bias !== 'none') refuse(param, `bias "${bias}" ${lacks}`);
  if (parameters.length > 0)
    refuse(
      param,
      `target_parameters (${parameters.join(', ')}) ${lacks}, as in PEFT`,
      'unsupported',
    );
  if (saved !== null && saved.length > 0)
    refuse(param, `modules_to_save (${saved.join(', ')}) are whole modules: they ${cannot}`);
  if (rows !== null) refuse(param, `trainable_token_indices are whole rows: they ${cannot}`);
  if (options.init_lora_weights === 'loftq')
    refuse(
      param,
      `init_lora_weights "loftq" was trained on a quantized base and does not fit the original one; ${convert}`,
    );
  if (takesFromWeight(options.init_lora_weights))
    refuse(
      param,
      `init_lora_weights "${String(options.init_lora_weights)}" is for a base from which a part was subtracted, not for the original one`,
    );
}

function refuse(param: string, what: string, code: DomainError['code'] = 'invalid_value'): never {
  throw new DomainError(code, `${param}: ${what}`, param);
}
