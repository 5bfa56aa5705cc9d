// Converts images and audio in records to data URLs.

export interface MediaUrl {
  readonly medium: 'image' | 'audio';
  readonly url: string;
}

/** Returns the media of a record's value, or null. */
export function mediaUrl(value: unknown): MediaUrl | null {
  if (typeof value !== 'string') return null;
  const medium = /^data:(image|audio)\/[\w.+-]+;base64,/.exec(value)?.[1];
  return medium === 'image' || medium === 'audio' ? { medium, url: value } : null;
}

/**
 * Detects a file's MIME type by its first bytes, because browsers use the file name and do not recognize
 * all types. Null if the type is not supported.
 */
export function mediaType(first: Uint8Array): string | null {
  const text = String.fromCharCode(...first.subarray(0, 16));
  const found = SIGNATURES.find(([pattern]) => pattern.test(text));
  return found?.[1] ?? null;
}

/** Number of bytes that detection needs. */
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

/**
 * Returns the maximum absolute value of each of the given number of sections, scaled so that the
 * largest is 1.
 */
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
