// Detects image and audio formats by their first bytes, since file names may be wrong.

export type Medium = 'image' | 'audio';

interface Kind {
  readonly medium: Medium;
  readonly type: string;
  matches(head: Buffer): boolean;
}

const at =
  (offset: number, ...parts: readonly (string | readonly number[])[]) =>
  (head: Buffer): boolean =>
    parts.some((part) => {
      const bytes = typeof part === 'string' ? Buffer.from(part, 'latin1') : Buffer.from(part);
      return head.subarray(offset, offset + bytes.length).equals(bytes);
    });
const riff =
  (form: string) =>
  (head: Buffer): boolean =>
    at(0, 'RIFF')(head) && at(8, form)(head);

const KINDS: readonly Kind[] = [
  { medium: 'image', type: 'image/jpeg', matches: at(0, [0xff, 0xd8, 0xff]) },
  { medium: 'image', type: 'image/png', matches: at(0, '\x89PNG\r\n\x1a\n') },
  { medium: 'image', type: 'image/gif', matches: at(0, 'GIF87a', 'GIF89a') },
  { medium: 'image', type: 'image/webp', matches: riff('WEBP') },
  { medium: 'image', type: 'image/tiff', matches: at(0, 'II*\0', 'MM\0*') },
  { medium: 'audio', type: 'audio/wav', matches: riff('WAVE') },
  { medium: 'audio', type: 'audio/flac', matches: at(0, 'fLaC') },
];

/** Unsupported formats that are recognized to suggest a conversion. */
const OTHERS: readonly (readonly [what: string, matches: (head: Buffer) => boolean])[] = [
  ['a BMP image; convert it to PNG or JPEG', at(0, 'BM')],
  ['a HEIC or AVIF image; convert it to JPEG', at(4, 'ftyphei', 'ftypmif', 'ftypavi')],
  ['MP3; convert it to FLAC or WAV', at(0, 'ID3', [0xff, 0xfb], [0xff, 0xf3], [0xff, 0xf2])],
  ['Ogg; convert it to FLAC or WAV', at(0, 'OggS')],
  ['MPEG-4; convert it to FLAC or WAV', at(4, 'ftyp')],
];

/** Returns the format of a file, or why it is not supported. */
export function mediaKind(bytes: Buffer): Pick<Kind, 'medium' | 'type'> | string {
  if (bytes.length === 0) return 'it is empty';
  const kind = KINDS.find(({ matches }) => matches(bytes));
  if (kind) return kind;
  const other = OTHERS.find(([, matches]) => matches(bytes));
  return other
    ? `it is ${other[0]}`
    : 'it is not a known image (JPEG, PNG, GIF, WebP, TIFF) or audio format (WAV, FLAC)';
}
