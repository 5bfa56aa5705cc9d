/**
 * Keys and values of sequences that are being continued: per sequence and layer one buffer [capacity, kv heads,
 * head size] that grows by doubling. Virtual tokens and prefixes lie in it like real ones.
 */
import { copy_, empty, keep, narrow, noGrad, tidy } from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';

interface Entry {
  readonly run: number;
  /** Rows that all layers hold. */
  length: number;
  readonly layers: { k: Tensor; v: Tensor }[];
}

const FIRST_CAPACITY = 64;

export class KvCache {
  readonly #entries = new Map<number, Entry>();
  #next = 1;

  constructor(
    private readonly shape: {
      readonly layers: number;
      readonly kvHeads: number;
      readonly headDim: number;
      readonly dtype: Dtype;
    },
  ) {}

  /** A handle for a new sequence of a run. */
  open(run: number): number {
    const handle = this.#next++;
    this.#entries.set(handle, { run, length: 0, layers: [] });
    return handle;
  }

  close(handle: number): void {
    for (const { k, v } of this.#entries.get(handle)?.layers ?? []) {
      k.dispose();
      v.dispose();
    }
    this.#entries.delete(handle);
  }

  /** Rows stored, virtual ones included. */
  length(handle: number): number {
    return this.#entry(handle).length;
  }

  /** Bytes held by all sequences. */
  get bytes(): number {
    const width = this.shape.dtype === 'f32' ? 4 : 2;
    let total = 0;
    for (const { layers } of this.#entries.values()) {
      for (const { k } of layers) total += 2 * k.size * width;
    }
    return total;
  }

  dispose(): void {
    for (const handle of [...this.#entries.keys()]) this.close(handle);
  }

  /**
   * Stores rows k, v [n, kv heads, head size] after `length` and returns views of all rows so far. The length moves
   * on only with `advance`, when every layer has its rows.
   */
  append(
    handle: number,
    layer: number,
    rows: readonly { k: Tensor; v: Tensor }[],
  ): { k: Tensor; v: Tensor } {
    const entry = this.#entry(handle);
    const added = rows.reduce((sum, { k }) => sum + (k.shape[0] as number), 0);
    const end = entry.length + added;
    const buffers = this.#room(entry, layer, end);
    noGrad(() =>
      tidy(() => {
        let at = entry.length;
        for (const { k, v } of rows) {
          const n = k.shape[0] as number;
          copy_(narrow(buffers.k, 0, at, n), k);
          copy_(narrow(buffers.v, 0, at, n), v);
          at += n;
        }
      }),
    );
    return { k: narrow(buffers.k, 0, 0, end), v: narrow(buffers.v, 0, 0, end) };
  }

  advance(handle: number, rows: number): void {
    this.#entry(handle).length += rows;
  }

  #entry(handle: number): Entry {
    const entry = this.#entries.get(handle);
    if (!entry) throw new DomainError('internal_error', `cache handle ${handle} is not open`);
    return entry;
  }

  #room(entry: Entry, layer: number, rows: number): { k: Tensor; v: Tensor } {
    const old = entry.layers[layer];
    const had = old?.k.shape[0] ?? 0;
    if (old && had >= rows) return old;
    const { kvHeads, headDim, dtype } = this.shape;
    const capacity = Math.max(FIRST_CAPACITY, 2 * had, rows);
    const grown = (from: Tensor | undefined): Tensor => {
      const buffer = keep(empty([capacity, kvHeads, headDim], dtype));
      if (from && entry.length > 0) {
        noGrad(() =>
          tidy(() => copy_(narrow(buffer, 0, 0, entry.length), narrow(from, 0, 0, entry.length))),
        );
        from.dispose();
      }
      return buffer;
    };
    const buffers = { k: grown(old?.k), v: grown(old?.v) };
    entry.layers[layer] = buffers;
    return buffers;
  }
}
