/** Segments of a packed batch, and which keys their queries see. */
import { KernelError } from '../errors.js';
import type { Tensor } from '../tensor.js';

/** Rows of a packed batch that attend to the same keys. */
export interface AttentionSegment {
  /** First query; segments are consecutive. */
  readonly start: number;
  readonly rows: number;
  /** First of its own keys. */
  readonly keyStart: number;
  readonly keyRows: number;
  /** Keys before its own, which other segments may share: a prefix, or virtual tokens. */
  readonly beforeStart: number;
  readonly before: number;
  /** Position of its first query among its keys. Default: the last query is at the last key. */
  readonly offset?: number;
}

/** Segments with defaults, and the maximum distances of keys. */
export interface Pattern {
  readonly scale: number;
  readonly causal: boolean;
  readonly window: number;
  /** f32 or f64 [H, distances], starting at -behind; or [H, places] if that is BY_PLACE. */
  readonly bias: Tensor | null;
  readonly behind: number;
  readonly softcap: number | null;
}

export const BY_PLACE = -1;

export interface Range {
  readonly from: number;
  readonly past: number;
}

/** Range of keys, out of `count`, that a query at key `at` sees. */
export function seenFrom(
  at: number,
  count: number,
  { causal, window }: Pick<Pattern, 'causal' | 'window'>,
): Range {
  const ahead = causal ? 1 : window > 0 ? window : Infinity;
  return { from: window > 0 ? Math.max(0, at - window + 1) : 0, past: Math.min(count, at + ahead) };
}

export const keysOf = ({ before, keyRows }: AttentionSegment): number => before + keyRows;
export const offsetOf = (segment: AttentionSegment): number =>
  segment.offset ?? keysOf(segment) - segment.rows;

export const refuse = (message: string): never => {
  throw new KernelError('packedAttention', `packedAttention: ${message}`);
};
