const MEDIA = /"(data:(?:image|audio)\/[^",]*;base64),[^"]*"?/g;

/** The first characters of a line, as people read it: pictures and sounds in it are named and left out. */
export function beginningOf(line: Buffer, characters: number): string {
  const isMedia = line.includes('"data:');
  // A character is at most four bytes.
  const text = (isMedia ? line : line.subarray(0, 4 * characters)).toString('utf8');
  return (isMedia ? text.replaceAll(MEDIA, '"$1,…"') : text).slice(0, characters);
}
