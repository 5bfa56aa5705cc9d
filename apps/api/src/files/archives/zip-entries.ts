import { UNPACK_PROCESS } from '../../scripts.js';
import { confined, type Confined } from '../../sandbox/confined-process.js';

/** A file in a zip. */
export interface ZipEntry {
  /** Its place in the archive's directory. */
  readonly at: number;
  /** Unpacked, as the archive claims. */
  readonly size: number;
}

/** What the file holds, unpacked in a process of its own. @throws what the order says where it cannot be */
export const zipEntry = (
  { at }: ZipEntry,
  order: Omit<Confined, 'script' | 'arguments'>,
): AsyncGenerator<Buffer> =>
  confined({ ...order, script: UNPACK_PROCESS, arguments: ['entry', String(at)] });
