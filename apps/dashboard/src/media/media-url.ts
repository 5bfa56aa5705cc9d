// Pictures and sounds in records: bytes as a data URL.

export interface MediaUrl {
  readonly medium: 'image' | 'audio';
  readonly url: string;
}

/** What a value of a record shows or plays, or null. */
export function mediaUrl(value: unknown): MediaUrl | null {
  if (typeof value !== 'string') return null;
  const medium = /^data:(image|audio)\/[\w.+-]+;base64,/.exec(value)?.[1];
  return medium === 'image' || medium === 'audio' ? { medium, url: value } : null;
}

/** What a file's first bytes say that it is; browsers go by its name, and know no type of some. Null: nothing that is taken. */
export function mediaType(first: Uint8Array): string | null {
  const text = String.fromCharCode(...first.subarray(0, 16));
  const found = SIGNATURES.find(([pattern]) => pattern.test(text));
  return found?.[1] ?? null;
}

/** So many bytes are enough to tell it. */
export const FIRST_BYTES = 16;

const SIGNATURES: readonly (readonly [RegExp, string])[] = [
  [/^fLaC/, 'audio/flac'],
  [/^(RIFF|RF64|RIFX)[^]{4}WAVE/, 'audio/wav'],
  [/^RIFF[^]{4}WEBP/, 'image/webp'],
  [/^\x89PNG\r\n/, 'image/png'],
  [/^\xff\xd8\xff/, 'image/jpeg'],
  [/^GIF8[79]a/, 'image/gif'],
  [/^(II\*\0|MM\0\*)/, 'image/tiff'],
];

export function bytesOf(url: string): ArrayBuffer {
  const binary = atob(url.slice(url.indexOf(',') + 1));
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes.buffer;
}

/** The furthest from zero of each of so many stretches, the largest being 1. */
export function peaks(samples: Float32Array, stretches: number): readonly number[] {
  const length = samples.length / stretches;
  const found = Array.from({ length: stretches }, (_, n) => {
    let most = 0;
    const end = Math.max(Math.ceil((n + 1) * length), Math.floor(n * length) + 1);
    for (const value of samples.subarray(Math.floor(n * length), end))
      most = Math.max(most, Math.abs(value));
    return most;
  });
  const most = Math.max(...found);
  return most === 0 ? found : found.map((one) => one / most);
}
