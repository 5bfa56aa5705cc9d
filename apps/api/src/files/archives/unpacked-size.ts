import { unreadable } from '../rows/rows.js';

/**
 * Limits of unpacked data: this many bytes, or this many times the uploaded size. More is a decompression bomb, or
 * better uploaded uncompressed.
 */
const UNPACKED = { bytes: 64 * 2 ** 20, times: 200 };

/** Returns a function that throws if an upload of `size` bytes unpacks to too many bytes. */
export function unpackedSizeGuard(size: number): (bytes: number) => void {
  const most = Math.max(UNPACKED.bytes, UNPACKED.times * size);
  return (bytes) => {
    if (bytes <= most) return;
    throw unreadable(
      `its ${size.toLocaleString('en')} bytes unpack to more than the limit of ${most.toLocaleString('en')}; upload it as JSON Lines`,
    );
  };
}
