/**
 * SpecAugment over time (arXiv:1904.08779), sampled as in Transformers. Of T rows it masks n = ⌊share · T / length + u⌋
 * spans of `length` rows, at least `least` and at most as many as fit, each with a different first row; u ~ U(0, 1).
 * Spans may overlap.
 */
import { z } from 'zod';

export const Masking = z.object({
  share: z.number().positive(),
  length: z.int().min(1),
  least: z.int().min(0),
});
export type Masking = z.infer<typeof Masking>;

/** Returns the indices of masked rows, in order. @param next uniform between 0 and 1 */
export function hiddenRows(
  { share, length, least }: Masking,
  rows: number,
  next: () => number,
): number[] {
  const drawn = Math.floor((share * rows) / length + next());
  const places = rows - length + 1;
  const count = Math.min(Math.max(drawn, least), Math.floor(rows / length), places);
  const begins = Array.from({ length: Math.max(places, 0) }, (_, row) => row);
  const hidden = new Set<number>();
  for (let n = 0; n < count; n++) {
    // the first n entries are those already drawn
    const other = n + Math.floor(next() * (places - n));
    [begins[n], begins[other]] = [begins[other] as number, begins[n] as number];
    for (let row = 0; row < length; row++) hidden.add((begins[n] as number) + row);
  }
  return [...hidden].sort((a, b) => a - b);
}
