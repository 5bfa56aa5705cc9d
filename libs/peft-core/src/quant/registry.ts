import { DomainError } from '@graft/contracts';
import type { HfConfig } from '../nn/hf-files.js';
import { registry } from '../plug-in-registry.js';
import { fp4 } from './fp4.js';
import { ggufBlocks } from './gguf-blocks.js';
import { int8 } from './int8.js';
import { nf4 } from './nf4.js';
import type { Quantizer } from './quantizer.js';

export const quantizers: readonly Quantizer[] = [nf4, fp4, int8, ggufBlocks];

const byName = registry('quantizer', quantizers, ({ name }) => [name]);

/** @throws DomainError for an unknown name */
export function quantizerFor(name: string): Quantizer {
  const found = byName.get(name);
  if (found) return found;
  const known =
    quantizers.map((quantizer) => quantizer.name).join(', ') || 'none in this build; use null';
  throw new DomainError(
    'unsupported',
    `unknown quantization '${name}'; supported: ${known}`,
    'graft.quantization',
  );
}

/**
 * Returns the quantizer of a base model's files, by their config.json. Null if they are not quantized.
 * @throws DomainError if no quantizer can read them
 */
export function storedQuantizer(config: HfConfig): Quantizer | null {
  const stored = config['quantization_config'];
  if (stored === undefined || stored === null) return null;
  const found =
    typeof stored === 'object' &&
    quantizers.find(({ reads }) => reads?.(stored as Readonly<Record<string, unknown>>));
  if (found) return found;
  const known = quantizers.filter(({ reads }) => reads).map(({ name }) => name);
  const advice =
    known.length > 0
      ? `use those of ${known.join(' or ')}, or the original weights`
      : 'use the original weights';
  throw new DomainError(
    'unsupported',
    `the weights are quantized in an unsupported format; ${advice}`,
    'model',
  );
}
