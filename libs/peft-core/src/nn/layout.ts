/** How a batch lies in memory while it goes through the model: its sequences, and the rows of virtual tokens. */
import { DomainError } from '@graft/contracts';
import { keep, ones, tidy, tril, triu } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { runRows } from '../batch.js';
import type { PackedBatch, RunRows } from '../batch.js';
import type { KvCache } from './kv-cache.js';
import type { Sites } from './site.js';

/** Consecutive rows that attend to each other. */
export interface Piece {
  readonly run: number;
  readonly rows: number;
  /** Whether these are a run's virtual tokens and not a sequence. */
  readonly virtual: boolean;
  /** The piece of virtual tokens that this sequence sees before its own rows, or -1. */
  readonly shared: number;
  /** Keys of a prefix that this piece sees before its own, per layer. */
  readonly prefix: number;
  /** Handle in the cache, or null. */
  readonly cache: number | null;
}

/**
 * Rows in order of runs; a run's virtual tokens come once, before its sequences. Positions count virtual tokens
 * and prefixes, which lie before every sequence of their run.
 */
export class Layout {
  readonly pieces: readonly Piece[];
  readonly positions: Int32Array;
  /** Rows by run, with and without virtual tokens. */
  readonly rows: readonly RunRows[];
  readonly realRows: readonly RunRows[];
  /** Virtual rows before each run's real ones, in the order of `rows`. */
  readonly virtualRows: readonly number[];
  readonly #masks = new Map<string, Tensor>();

  constructor(batch: PackedBatch, sites: Sites, cache: KvCache | undefined) {
    check(batch);
    this.realRows = runRows(batch.sequences);
    const pieces: Piece[] = [];
    const rows: RunRows[] = [];
    const virtualRows: number[] = [];
    const positions: number[] = [];
    let at = 0;
    for (const { run, start, length } of this.realRows) {
      const sequences = batch.sequences.filter((sequence) => sequence.run === run);
      const fresh = (handle: number | undefined): boolean =>
        cache === undefined || handle === undefined || cache.length(handle) === 0;
      const anyFresh = sequences.some(({ cache: handle }) => fresh(handle));
      const inputs = sites.inputs.of(run)?.length ?? 0;
      const prefix = sites.prefix.of(run)?.length ?? 0;
      const virtual = anyFresh ? inputs : 0;
      const shared = virtual > 0 ? pieces.length : -1;
      if (virtual > 0) {
        pieces.push({ run, rows: virtual, virtual: true, shared: -1, prefix, cache: null });
        for (let i = 0; i < virtual; i++) positions.push(prefix + i);
      }
      for (const { length: count, cache: handle } of sequences) {
        const first = fresh(handle);
        const kept = cache === undefined ? null : (handle ?? null);
        pieces.push({
          run,
          rows: count,
          virtual: false,
          shared: first ? shared : -1,
          prefix: first ? prefix : 0,
          cache: kept,
        });
      }
      for (let i = start; i < start + length; i++)
        positions.push((batch.positions[i] as number) + inputs + prefix);
      rows.push({ run, start: at, length: virtual + length });
      virtualRows.push(virtual);
      at += virtual + length;
    }
    this.pieces = pieces;
    this.rows = rows;
    this.virtualRows = virtualRows;
    this.positions = Int32Array.from(positions);
  }

  get hasVirtual(): boolean {
    return this.virtualRows.some((count) => count > 0);
  }

  /**
   * Which keys each of `rows` queries may see when `before` keys precede their own: [rows, before + rows], true =
   * may. Made once for all layers.
   */
  mask(rows: number, before: number, window: number | null): Tensor {
    const name = `${rows} ${before} ${window}`;
    const made = this.#masks.get(name);
    if (made) return made;
    const mask = tidy(() => {
      const past = tril(ones([rows, before + rows], 'bool'), before);
      return window === null ? past : triu(past, before - window + 1);
    });
    this.#masks.set(name, keep(mask));
    return mask;
  }

  dispose(): void {
    for (const mask of this.#masks.values()) mask.dispose();
    this.#masks.clear();
  }
}

function check({ tokens, positions, sequences }: PackedBatch): void {
  const fail = (message: string): never => {
    throw new DomainError('internal_error', `batch: ${message}`);
  };
  if (positions.length !== tokens.length)
    fail(`${tokens.length} tokens but ${positions.length} positions`);
  const left = new Set<number>();
  let at = 0;
  let run: number | null = null;
  for (const sequence of sequences) {
    if (sequence.start !== at)
      fail(`a sequence starts at row ${sequence.start}, the one before ends at ${at}`);
    if (sequence.length < 1) fail(`the sequence at row ${at} is empty`);
    if (sequence.run !== run) {
      if (left.has(sequence.run)) fail(`the rows of run ${sequence.run} are not together`);
      if (run !== null) left.add(run);
      run = sequence.run;
    }
    at += sequence.length;
  }
  if (at !== tokens.length) fail(`sequences cover ${at} of ${tokens.length} tokens`);
  if (at === 0) fail('it is empty');
}
