import { DomainError } from '@graft/contracts';
import type { HfConfig } from '../nn/hf-files.js';
import { registry } from '../plug-in-registry.js';
import { fp4 } from './fp4.js';
import { ggufBlocks } from './gguf-blocks.js';
import { int8 } from './int8.js';
import { nf4 } from './nf4.js';
import type { Quantizer } from './quantizer.js';

/** Every quantiser there is. */
export const quantizers: readonly Quantizer[] = [nf4, fp4, int8, ggufBlocks];

const byName = registry('quantiser', quantizers, ({ name }) => [name]);

/** @throws DomainError when there is none of this name */
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
 * The quantiser that the files of a config.json are packed by; null for plain ones.
 * @throws DomainError when nothing here reads them
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
