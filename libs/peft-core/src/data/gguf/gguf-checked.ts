import { DomainError } from '@graft/contracts';
import { readGgufHeader } from './gguf-header.js';
import type { GgufHeader } from './gguf-header.js';

/** Reads the header of a GGUF file. Loads no native code. @throws DomainError `invalid_model` */
export function checkedHeader(path: string): GgufHeader {
  try {
    return readGgufHeader(path);
  } catch (error) {
    throw new DomainError(
      'invalid_model',
      `cannot read the GGUF file: ${(error as Error).message}`,
    );
  }
}
