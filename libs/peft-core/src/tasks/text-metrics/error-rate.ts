/**
 * Word and character error rates: (substitutions + deletions + insertions) / length of the reference, over
 * all texts. The number of errors is the Levenshtein distance. Characters are Unicode code points,
 * including spaces.
 */
export interface Errors {
  readonly errors: number;
  /** Number of words or characters in the reference. */
  readonly length: number;
}

export const wordErrors = (said: string, wanted: string): Errors =>
  errorsOf(wordsOf(said), wordsOf(wanted));

export const characterErrors = (said: string, wanted: string): Errors =>
  errorsOf(Array.from(said.trim()), Array.from(wanted.trim()));

const wordsOf = (text: string): readonly string[] => text.split(/\s+/u).filter(Boolean);

const errorsOf = (said: readonly string[], wanted: readonly string[]): Errors => ({
  errors: distance(said, wanted),
  length: wanted.length,
});

function distance(a: readonly string[], b: readonly string[]): number {
  let before = Uint32Array.from({ length: b.length + 1 }, (_, j) => j);
  let now = new Uint32Array(b.length + 1);
  for (const [i, said] of a.entries()) {
    now[0] = i + 1;
    for (let j = 0; j < b.length; j++) {
      const substituted = (before[j] ?? 0) + (said === b[j] ? 0 : 1);
      now[j + 1] = Math.min(substituted, (before[j + 1] ?? 0) + 1, (now[j] ?? 0) + 1);
    }
    [before, now] = [now, before];
  }
  return before[b.length] ?? 0;
}
