import { unreadable } from '../rows/rows.js';

/** What is packed may become so many bytes, or so many times what came: more is a bomb, or better sent unpacked. */
const UNPACKED = { bytes: 64 * 2 ** 20, times: 200 };

/** Throws where an upload of so many bytes becomes too many. */
export function unpackedWithin(size: number): (bytes: number) => void {
  const most = Math.max(UNPACKED.bytes, UNPACKED.times * size);
  return (bytes) => {
    if (bytes <= most) return;
    throw unreadable(
      `its ${size.toLocaleString('en')} bytes become more than ${most.toLocaleString('en')}, which is refused; send it as JSON Lines`,
    );
  };
}
