import { porterStem } from './porter-stem.js';

// METEOR of a text T and a reference R (Lavie and Agarwal, 2007). Words are aligned as in NLTK, first exact matches
// and then stems; the third stage, WordNet synonyms, is omitted. With m words matched in k chunks:
//   P = m / |T|,  R = m / |R|,  F = P·R / (0.9·P + 0.1·R),  METEOR = F · (1 − 0.5 · (k / m)³)

interface Word {
  readonly at: number;
  readonly form: string;
}
type Pair = readonly [text: number, reference: number];

export function meteor(text: readonly string[], reference: readonly string[]): number {
  const exact = match(enumerated(text), enumerated(reference));
  const stemmed = match(stems(exact.text), stems(exact.reference));
  const pairs = [...exact.pairs, ...stemmed.pairs].sort(([a], [b]) => a - b);
  const matched = pairs.length;
  if (matched === 0) return 0;
  const precision = matched / text.length;
  const recall = matched / reference.length;
  const fMean = (precision * recall) / (0.9 * precision + (1 - 0.9) * recall);
  const fragmented = chunks(pairs) / matched;
  return (1 - 0.5 * fragmented ** 3) * fMean;
}

const enumerated = (words: readonly string[]): Word[] =>
  words.map((word, at) => ({ at, form: word.toLowerCase() }));

const stems = (words: readonly Word[]): Word[] =>
  words.map(({ at, form }) => ({ at, form: porterStem(form) }));

/** Matches each word of the text, from the last to the first, to the last unmatched equal word of the reference. */
function match(
  text: readonly Word[],
  reference: readonly Word[],
): { readonly pairs: Pair[]; readonly text: Word[]; readonly reference: Word[] } {
  const places = new Map<string, number[]>();
  reference.forEach(({ form }, index) => {
    const at = places.get(form);
    if (at) at.push(index);
    else places.set(form, [index]);
  });
  const pairs: Pair[] = [];
  const taken = new Set<number>();
  const left: Word[] = [];
  for (const word of text.toReversed()) {
    const index = places.get(word.form)?.pop();
    if (index === undefined) left.push(word);
    else {
      taken.add(index);
      pairs.push([word.at, reference[index]!.at]);
    }
  }
  return {
    pairs,
    text: left.reverse(),
    reference: reference.filter((_, index) => !taken.has(index)),
  };
}

const chunks = (pairs: readonly Pair[]): number =>
  pairs.filter(([text, reference], i) => {
    const before = pairs[i - 1];
    return !before || text !== before[0] + 1 || reference !== before[1] + 1;
  }).length;
