// Reads adapter_config.json. Loads no native code.
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import { parseJson, type Json } from '../../data/text/tokenizer-files.js';
import { BOOKKEEPING } from '../../methods/frame/fields.js';
import type { Method } from '../../methods/method.js';
import { methodFor } from '../../methods/registry.js';

export type AdapterConfig = Json & { readonly peft_type: string };

export const MAX_CONFIG_BYTES = 1 << 20;

/**
 * Parses the config without the duplicates that PEFT leaves in lists, and without empty fields of a newer PEFT.
 * @param where name for error messages @throws DomainError `invalid_adapter`
 */
export function adapterConfig(text: string, where: string): AdapterConfig {
  let config: Json;
  try {
    config = parseJson(text, where);
  } catch (error) {
    throw invalid((error as Error).message);
  }
  if (typeof config['peft_type'] !== 'string') throw invalid(`${where} has no peft_type`);
  const saved = config['modules_to_save'];
  const deduped = Array.isArray(saved) ? { modules_to_save: [...new Set(saved)] } : {};
  return withoutNews({ ...config, ...deduped } as AdapterConfig);
}

export function methodOf(config: { readonly peft_type: string }): Method {
  try {
    return methodFor(config);
  } catch (error) {
    throw invalid((error as Error).message);
  }
}

/**
 * Drops empty fields (null, false, empty) that this build's method does not have, since newer PEFT writes all of its
 * fields. Nonempty ones stay and are rejected by name when the adapter is attached.
 */
function withoutNews(config: AdapterConfig): AdapterConfig {
  const { options, unsupported } = methodOf(config);
  const { properties = {} } = z.toJSONSchema(options, { io: 'input' });
  const isKnown = (key: string): boolean =>
    key === 'peft_type' ||
    key === 'task_type' ||
    BOOKKEEPING.has(key) ||
    key in unsupported ||
    key in properties;
  const saysNothing = (value: unknown): boolean =>
    value === null ||
    value === false ||
    (typeof value === 'object' && Object.keys(value).length === 0);
  const kept = Object.entries(config).filter(([key, value]) => isKnown(key) || !saysNothing(value));
  return Object.fromEntries(kept) as AdapterConfig;
}

const invalid = (what: string): DomainError => new DomainError('invalid_adapter', what);
