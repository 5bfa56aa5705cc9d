import { UNPACK_PROCESS } from '../../scripts.js';
import { confined, type Confined } from '../../sandbox/confined-process.js';

/** File in a zip. */
export interface ZipEntry {
  /** Index in the archive's directory. */
  readonly at: number;
  /** Unpacked size in bytes, as stated by the archive. */
  readonly size: number;
}

/**
 * Reads a file of a zip, which is unpacked in a separate process.
 * @throws the error given by `order` if it cannot be unpacked
 */
export const zipEntry = (
  { at }: ZipEntry,
  order: Omit<Confined, 'script' | 'arguments'>,
): AsyncGenerator<Buffer> =>
  confined({ ...order, script: UNPACK_PROCESS, arguments: ['entry', String(at)] });
