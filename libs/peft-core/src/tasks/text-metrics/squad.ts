/**
 * Answers in a context and their comparison as in SQuAD's evaluation (arXiv:1606.05250, 1806.03822):
 * without case, punctuation, articles and white space. F1 counts the words that two answers share. If one
 * has no words, it is 1 if both have none, else 0.
 */
import { shown } from '../../data/json-scan.js';

export interface Answer {
  readonly text: string;
  /** Offset in code points, as in Python. */
  readonly start: number;
}

/** Returns the answers of a record, as SQuAD's columns or as a list, or why they are invalid. */
export function answersIn(answers: unknown): readonly Answer[] | string {
  const listed = Array.isArray(answers) ? (answers as unknown[]) : columns(answers);
  if (listed === null)
    return '"answers" must be {"text":[…],"answer_start":[…]} with lists of equal length, or a list of {"text","answer_start"}';
  const found: Answer[] = [];
  for (const [i, one] of listed.entries()) {
    const { text, answer_start: start } = (one ?? {}) as Record<string, unknown>;
    if (typeof text !== 'string' || text === '') return `answer ${i} has no text`;
    if (!Number.isInteger(start) || (start as number) < 0)
      return `"answer_start" of answer ${i} must be an integer ≥ 0, got ${shown(start)}`;
    found.push({ text, start: start as number });
  }
  return found;
}

function columns(answers: unknown): unknown[] | null {
  const { text, answer_start: starts } = (answers ?? {}) as Record<string, unknown>;
  if (!Array.isArray(text) || !Array.isArray(starts) || text.length !== starts.length) return null;
  return text.map((one: unknown, i): unknown => ({
    text: one,
    answer_start: starts[i] as unknown,
  }));
}

const SURROGATE = /[\ud800-\udfff]/;

/** Returns a range of code points. */
export const part = (text: string, from: number, to: number): string =>
  SURROGATE.test(text) ? [...text].slice(from, to).join('') : text.slice(from, to);

export const pointsIn = (text: string): number =>
  SURROGATE.test(text) ? [...text].length : text.length;

const normalized = (answer: string): string =>
  answer
    .toLowerCase()
    .replace(/[!-/:-@[-`{-~]/g, '')
    .replace(/\b(a|an|the)\b/g, ' ')
    .split(/\s+/)
    .filter(Boolean)
    .join(' ');

/** Returns the maximum over the reference answers. No reference answer means the empty one. */
const best = (of: (right: string) => number, rights: readonly string[]): number =>
  Math.max(...(rights.length === 0 ? [''] : rights).map(of));

export const exactMatch = (answer: string, rights: readonly string[]): number =>
  best((right) => Number(normalized(answer) === normalized(right)), rights);

export const sharedWords = (answer: string, rights: readonly string[]): number =>
  best((right) => f1(words(answer), words(right)), rights);

const words = (answer: string): string[] => normalized(answer).split(' ').filter(Boolean);

function f1(ours: readonly string[], theirs: readonly string[]): number {
  if (ours.length === 0 || theirs.length === 0) return Number(ours.length === theirs.length);
  const left = new Map<string, number>();
  for (const word of theirs) left.set(word, (left.get(word) ?? 0) + 1);
  let same = 0;
  for (const word of ours) {
    const count = left.get(word) ?? 0;
    if (count === 0) continue;
    left.set(word, count - 1);
    same++;
  }
  return (2 * same) / (ours.length + theirs.length);
}
