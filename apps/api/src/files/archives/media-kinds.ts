// Pictures and sounds by their first bytes: names say what somebody believed.

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

/** What is told apart to say what to do with it. */
const OTHERS: readonly (readonly [what: string, matches: (head: Buffer) => boolean])[] = [
  ['a BMP: save it as PNG or JPEG', at(0, 'BM')],
  ['a HEIC or AVIF picture: save it as JPEG', at(4, 'ftyphei', 'ftypmif', 'ftypavi')],
  ['MP3: save it as FLAC or WAV', at(0, 'ID3', [0xff, 0xfb], [0xff, 0xf3], [0xff, 0xf2])],
  ['Ogg: save it as FLAC or WAV', at(0, 'OggS')],
  ['MPEG-4: save it as FLAC or WAV', at(4, 'ftyp')],
];

/** What the bytes are, or why nobody here can tell. */
export function mediaKind(bytes: Buffer): Pick<Kind, 'medium' | 'type'> | string {
  if (bytes.length === 0) return 'it is empty';
  const kind = KINDS.find(({ matches }) => matches(bytes));
  if (kind) return kind;
  const other = OTHERS.find(([, matches]) => matches(bytes));
  return other
    ? `it is ${other[0]}`
    : 'it begins like no picture (JPEG, PNG, GIF, WebP, TIFF) and no sound (WAV, FLAC)';
}
