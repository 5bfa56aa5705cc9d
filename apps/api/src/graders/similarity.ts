import { meteor } from './meteor.js';

// Similarity of a text T and a reference R, from 0 to 1. |G ∩ H| counts the n-grams that both have, with
// multiplicity.
//   fuzzy_match  2·LCS / (|T| + |R|) of characters: rapidfuzz' fuzz.ratio, over 100
//   bleu         Papineni et al., 2002, for a sentence as in sacrebleu: tokens 13a, smoothing exp, effective order
//   gleu         Wu et al., 2016: n-grams of 1 to 4 in common, over the larger number of them (NLTK), tokens 13a
//   meteor       in meteor.ts, tokens 13a
//   rouge_n, _l  Lin, 2004: F of n-grams, and of the longest common subsequence, as in rouge-score, no stemming

export const METRICS = [
  'fuzzy_match',
  'bleu',
  'gleu',
  'meteor',
  'rouge_1',
  'rouge_2',
  'rouge_3',
  'rouge_4',
  'rouge_5',
  'rouge_l',
] as const;
export type Metric = (typeof METRICS)[number];

/** Maximum characters of a compared text. Quadratic metrics take far less than a second for it. */
export const MOST_CHARACTERS = 32_768;

export function similarity(metric: Metric, text: string, reference: string): number {
  switch (metric) {
    case 'fuzzy_match': {
      const [a, b] = [[...text], [...reference]];
      return a.length + b.length === 0 ? 1 : (2 * longestCommon(a, b)) / (a.length + b.length);
    }
    case 'bleu':
      return bleu(tokens13a(text), tokens13a(reference));
    case 'gleu':
      return gleu(tokens13a(text), tokens13a(reference));
    case 'meteor':
      return meteor(tokens13a(text), tokens13a(reference));
    case 'rouge_l': {
      const [a, b] = [rougeTokens(text), rougeTokens(reference)];
      return f1(longestCommon(a, b), a.length, b.length);
    }
    default: {
      const n = Number(metric.slice('rouge_'.length));
      const [a, b] = [ngrams(rougeTokens(text), n), ngrams(rougeTokens(reference), n)];
      return f1(inCommon(a, b), total(a), total(b));
    }
  }
}

/** Tokenizes a text as WMT's mteval-v13a. */
export function tokens13a(text: string): string[] {
  const plain = text
    .replaceAll('<skipped>', '')
    .replaceAll('-\n', '')
    .replaceAll('\n', ' ')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>');
  return ` ${plain} `
    .replaceAll(/[{-~[-` -&(-+:-@/]/g, ' $& ')
    .replaceAll(/([^0-9])([.,])/gu, '$1 $2 ')
    .replaceAll(/([.,])([^0-9])/gu, ' $1 $2')
    .replaceAll(/([0-9])(-)/g, '$1 $2 ')
    .split(/\s+/)
    .filter((token) => token !== '');
}

const rougeTokens = (text: string): string[] => text.toLowerCase().match(/[a-z0-9]+/g) ?? [];

type Counts = ReadonlyMap<string, number>;

function ngrams(tokens: readonly string[], n: number): Counts {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= tokens.length; i++) {
    const gram = tokens.slice(i, i + n).join(' ');
    counts.set(gram, (counts.get(gram) ?? 0) + 1);
  }
  return counts;
}

const total = (counts: Counts): number => [...counts.values()].reduce((sum, n) => sum + n, 0);

function inCommon(a: Counts, b: Counts): number {
  let sum = 0;
  for (const [gram, count] of a) sum += Math.min(count, b.get(gram) ?? 0);
  return sum;
}

function f1(common: number, a: number, b: number): number {
  if (common === 0) return 0;
  const [precision, recall] = [common / a, common / b];
  return (2 * precision * recall) / (precision + recall);
}

const ORDERS = [1, 2, 3, 4];

function bleu(text: readonly string[], reference: readonly string[]): number {
  let smooth = 1;
  let logs = 0;
  let orders = 0;
  let any = false;
  for (const n of ORDERS) {
    const grams = ngrams(text, n);
    const all = total(grams);
    // Effective order: a short text has no longer n-grams.
    if (all === 0) break;
    const correct = inCommon(grams, ngrams(reference, n));
    any ||= correct > 0;
    if (correct === 0) smooth *= 2;
    logs += Math.log(correct === 0 ? 1 / (smooth * all) : correct / all);
    orders++;
  }
  if (!any) return 0;
  const brevity = Math.min(1, Math.exp(1 - reference.length / text.length));
  return brevity * Math.exp(logs / orders);
}

function gleu(text: readonly string[], reference: readonly string[]): number {
  let common = 0;
  let [ofText, ofReference] = [0, 0];
  for (const n of ORDERS) {
    const [a, b] = [ngrams(text, n), ngrams(reference, n)];
    common += inCommon(a, b);
    ofText += total(a);
    ofReference += total(b);
  }
  const most = Math.max(ofText, ofReference);
  return most === 0 ? 0 : common / most;
}

/**
 * Returns the length of the longest common subsequence. It computes rows of the table as bits of an integer: H.
 * Hyyrö, "Bit-parallel LCS-length computation revisited" (2004).
 */
export function longestCommon(a: readonly string[], b: readonly string[]): number {
  const places = new Map<string, bigint>();
  // A bit is set where the length in the row does not increase.
  const all = (1n << BigInt(a.length)) - 1n;
  const indices = new Map<string, number[]>();
  a.forEach((token, i) => {
    const at = indices.get(token);
    if (at) at.push(i);
    else indices.set(token, [i]);
  });
  const placesOf = (token: string): bigint => {
    const known = places.get(token);
    if (known !== undefined) return known;
    const at = indices.get(token) ?? [];
    const found = bits(at, a.length);
    // Bit sets of rare tokens are quick to compute and, for many tokens, too much to keep.
    if (at.length > RARE) places.set(token, found);
    return found;
  };
  let row = all;
  for (const token of b) {
    const same = row & placesOf(token);
    row = ((row + same) | (row - same)) & all;
  }
  return a.length - row.toString(2).replaceAll('0', '').length;
}

const RARE = 8;

function bits(indices: readonly number[], length: number): bigint {
  if (indices.length === 0) return 0n;
  if (indices.length === 1) return 1n << BigInt(indices[0]!);
  const bytes = Buffer.alloc(Math.ceil(length / 8));
  for (const index of indices) bytes[bytes.length - 1 - (index >> 3)]! |= 1 << (index & 7);
  return BigInt(`0x${bytes.toString('hex')}`);
}
