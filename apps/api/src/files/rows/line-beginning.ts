const MEDIA = /"(data:(?:image|audio)\/[^",]*;base64),[^"]*"?/g;

/** Returns the first characters of a line for display. The data of images and audio is omitted. */
export function beginningOf(line: Buffer, characters: number): string {
  const isMedia = line.includes('"data:');
  // A character has at most four bytes.
  const text = (isMedia ? line : line.subarray(0, 4 * characters)).toString('utf8');
  return (isMedia ? text.replaceAll(MEDIA, '"$1,…"') : text).slice(0, characters);
}
