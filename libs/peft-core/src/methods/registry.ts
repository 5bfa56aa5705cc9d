import { DomainError, shorten } from '@graft/contracts';
import { registry } from '../plugin.js';
import { full } from './full.js';
import { lora } from './lora.js';
import type { Method } from './method.js';
import { pTuning } from './p-tuning.js';
import { prefixTuning } from './prefix-tuning.js';
import { promptTuning } from './prompt-tuning.js';

/** Every method there is. Validation, the catalog, the docs and the test matrix are derived from this list. */
export const methods: readonly Method[] = [
  lora,
  promptTuning,
  pTuning,
  prefixTuning,
  full,
] as Method[];

/** What a job gets that says nothing about its adapter; its fields are the method's defaults for jobs. */
export const DEFAULT_PEFT = { peft_type: lora.name } as const;

/** Name of the method that `"peft": null` means. */
export const WITHOUT_ADAPTER = full.name;

const byName = registry('method', methods, ({ name }) => [name]);

/** @throws DomainError when there is no such method */
export function methodFor(peft: { readonly peft_type: string } | null): Method {
  const name = peft?.peft_type ?? WITHOUT_ADAPTER;
  const found = byName.get(name);
  if (found) return found;
  const known = methods.map((method) => method.name).join(', ');
  throw new DomainError(
    'invalid_value',
    `peft_type "${shorten(name, 200)}" is unknown; there are: ${known}`,
    'peft.peft_type',
  );
}
