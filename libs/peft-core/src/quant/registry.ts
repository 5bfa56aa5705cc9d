import { DomainError } from '@graft/contracts';
import { registry } from '../plugin.js';
import type { Quantizer } from './quantizer.js';

/** Every quantiser there is. */
export const quantizers: readonly Quantizer[] = [];

const byName = registry('quantiser', quantizers, ({ name }) => [name]);

/** @throws DomainError when there is none of this name */
export function quantizerFor(name: string): Quantizer {
  const found = byName.get(name);
  if (found) return found;
  const known =
    quantizers.map((quantizer) => quantizer.name).join(', ') || 'none in this build; use null';
  throw new DomainError(
    'unsupported',
    `quantization '${name}' is unknown; there are: ${known}`,
    'graft.quantization',
  );
}
