/**
 * Cache of keys and values of sequences that are being continued. Each sequence has one buffer [capacity, key
 * heads, head size] per layer, which grows by doubling. Virtual tokens and prefixes are stored like real
 * rows. Keys and values of the encoder's rows are stored separately and computed once, and so are those that
 * a run's queries read apart from its sequences. A run's side network has its own cache with the same rows.
 */
import { clone, copy_, empty, keep, narrow, noGrad, tidy } from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { cachedPerRow } from './kept-rows.js';

interface Entry {
  readonly run: number;
  /** Largest number of rows that the sequence may reach. */
  readonly most: number;
  /** Number of rows stored in all layers. */
  length: number;
  /** Handle of the cache of the first pass, if rows go through the layers twice. */
  first?: number;
  readonly layers: { k: Tensor; v: Tensor }[];
  /** Keys and values of the encoder's rows, by layer. */
  readonly memory: { k: Tensor; v: Tensor }[];
  /**
   * States of convolution layers, by layer: after the rows so far, before the last advance, and the next one.
   */
  states: Map<number, Tensor>;
  earlier: Map<number, Tensor>;
  readonly coming: Map<number, Tensor>;
  /** Handle in the cache of the run's side network. */
  readonly side: number | null;
}

export interface CacheShape {
  readonly layers: number;
  /** Returns the number of key heads of a run's sequences: those of its prefix, if it has one. */
  readonly headsOf: (run: number) => number;
  /** Returns how often a run's rows go through the layers. Defaults to once. */
  readonly passesOf?: (run: number) => number;
  /**
   * Returns the number of elements that a run's sequence stores in addition to its rows. Defaults to none.
   */
  readonly extraElementsOf?: (run: number) => number;
  readonly headDim: number;
  readonly dtype: Dtype;
  /** Returns the cache shape of a run's side network, if it has one. */
  readonly sideOf?: (run: number) => CacheShape | undefined;
}

interface KeysValues {
  readonly k: Tensor;
  readonly v: Tensor;
}

const freed = (states: Map<number, Tensor>): void => {
  for (const state of states.values()) state.dispose();
  states.clear();
};
const kept = (t: Tensor): Tensor => keep(noGrad(() => clone(t)));

const FIRST_CAPACITY = 64;

export class KvCache {
  readonly #entries = new Map<number, Entry>();
  /** Caches of side networks by run, while the run has sequences. */
  readonly #sides = new Map<number, KvCache>();
  /** Keys and values apart from the sequences, by run and layer. */
  readonly #apart = new Map<number, Map<number, KeysValues>>();
  #next = 1;

  constructor(private readonly shape: CacheShape) {}

  /** Bytes of one row of a run's sequence in all layers. */
  bytesPerRow(run: number): number {
    const { layers, headsOf, headDim, sideOf, passesOf } = this.shape;
    const side = sideOf?.(run);
    const passes = passesOf?.(run) ?? 1;
    const own = passes * cachedPerRow(layers, headsOf(run), headDim) * this.#width;
    return own + (side ? new KvCache(side).bytesPerRow(run) : 0);
  }

  /** Largest number of bytes that a run's sequence stores in addition to its rows. */
  extraBytes(run: number): number {
    return (this.shape.extraElementsOf?.(run) ?? 0) * this.#width;
  }

  get #width(): number {
    return this.shape.dtype === 'f32' ? 4 : 2;
  }

  /**
   * Opens a sequence of a run and returns its handle.
   * @param most largest number of rows; the buffers never grow beyond it
   */
  open(run: number, most = Infinity): number {
    const handle = this.#next++;
    this.#entries.set(handle, {
      run,
      most,
      length: 0,
      layers: [],
      memory: [],
      states: new Map(),
      earlier: new Map(),
      coming: new Map(),
      side: this.#openSide(run, most),
    });
    return handle;
  }

  /** Handle of the cache of a sequence's first pass. It is rewound and closed with the sequence. */
  firstPass(handle: number): number {
    const entry = this.#entry(handle);
    return (entry.first ??= this.open(entry.run, entry.most));
  }

  close(handle: number): void {
    const entry = this.#entries.get(handle);
    if (entry?.first !== undefined) this.close(entry.first);
    const { layers = [], memory = [] } = entry ?? {};
    if (entry) [entry.states, entry.earlier, entry.coming].forEach(freed);
    for (const { k, v } of [...layers, ...memory]) {
      k.dispose();
      v.dispose();
    }
    this.#entries.delete(handle);
    if (entry && entry.side !== null) this.#closeSide(entry.run, entry.side);
    const others = [...this.#entries.values()];
    if (entry && !others.some(({ run }) => run === entry.run)) this.#forget(entry.run);
  }

  #forget(run: number): void {
    for (const { k, v } of this.#apart.get(run)?.values() ?? []) {
      k.dispose();
      v.dispose();
    }
    this.#apart.delete(run);
  }

  /** Cache of a run's side network. */
  side(run: number): KvCache | undefined {
    return this.#sides.get(run);
  }

  /** Handle of a sequence in the cache of its side network. */
  sideOf(handle: number): number {
    return this.#entry(handle).side as number;
  }

  /** Number of rows stored, including virtual rows. */
  length(handle: number): number {
    return this.#entry(handle).length;
  }

  /** Bytes allocated by all sequences. */
  get bytes(): number {
    let numbers = 0;
    for (const { layers, memory, states, earlier, coming } of this.#entries.values()) {
      for (const { k } of [...layers, ...memory]) numbers += 2 * k.size;
      for (const each of [states, earlier, coming])
        for (const state of each.values()) numbers += state.size;
    }
    for (const layers of this.#apart.values())
      for (const { k } of layers.values()) numbers += 2 * k.size;
    let total = numbers * this.#width;
    for (const side of this.#sides.values()) total += side.bytes;
    return total;
  }

  dispose(): void {
    for (const handle of [...this.#entries.keys()]) this.close(handle);
    for (const run of [...this.#apart.keys()]) this.#forget(run);
  }

  /**
   * Stores rows k, v [n, kv heads, head size] after `length` and returns views of all rows so far. The length
   * changes only with `advance`, when every layer has its rows.
   */
  append(
    handle: number,
    layer: number,
    rows: readonly { k: Tensor; v: Tensor }[],
  ): { k: Tensor; v: Tensor } {
    const entry = this.#entry(handle);
    const added = rows.reduce((sum, { k }) => sum + (k.shape[0] as number), 0);
    const end = entry.length + added;
    const buffers = this.#reserve(entry, layer, end);
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

  /** Returns a layer's buffers [capacity, kv heads, head size], with capacity for one more row. */
  next(handle: number, layer: number): { k: Tensor; v: Tensor; length: number } {
    const entry = this.#entry(handle);
    const { k, v } = this.#reserve(entry, layer, entry.length + 1);
    return { k, v, length: entry.length };
  }

  advance(handle: number, rows: number): void {
    const entry = this.#entry(handle);
    entry.length += rows;
    freed(entry.earlier);
    entry.earlier = entry.states;
    entry.states = new Map(entry.coming);
    entry.coming.clear();
  }

  /**
   * Rewinds to this many rows: none, or at least as many as before the last advance (exactly as many if there
   * are convolution layers). Later rows overwrite the rest.
   */
  rewind(handle: number, rows: number): void {
    const entry = this.#entry(handle);
    if (entry.first !== undefined) this.rewind(entry.first, rows);
    freed(entry.coming);
    if (rows < entry.length) {
      freed(entry.states);
      if (rows === 0) freed(entry.earlier);
      entry.states = entry.earlier;
      entry.earlier = new Map();
    }
    entry.length = rows;
    if (entry.side !== null) this.#sides.get(entry.run)?.rewind(entry.side, rows);
  }

  /** State of a convolution layer after the rows so far; undefined before the first. */
  state(handle: number, layer: number): Tensor | undefined {
    return this.#entry(handle).states.get(layer);
  }

  /** Stores a copy of a convolution layer's next state. `advance` makes it current, `rewind` discards it. */
  storeState(handle: number, layer: number, state: Tensor): void {
    const { coming } = this.#entry(handle);
    coming.get(layer)?.dispose();
    coming.set(layer, kept(state));
  }

  /**
   * Stores a copy of the keys and values of an encoder's rows, each [n, heads, head size]. Called once per
   * layer, in order.
   */
  remember(handle: number, { k, v }: { k: Tensor; v: Tensor }): void {
    this.#entry(handle).memory.push({ k: kept(k), v: kept(v) });
  }

  /**
   * Keys and values in a layer that a run's queries read apart from its sequences. Computed once while the
   * run has sequences.
   */
  apart(run: number, layer: number, make: () => KeysValues): KeysValues {
    const layers = this.#apart.get(run) ?? new Map<number, KeysValues>();
    this.#apart.set(run, layers);
    const found = layers.get(layer);
    if (found) return found;
    const { k, v } = make();
    const made = { k: kept(k), v: kept(v) };
    layers.set(layer, made);
    return made;
  }

  /** Keys and values of the encoder's rows in a layer. */
  memory(handle: number, layer: number): { k: Tensor; v: Tensor } {
    const found = this.#entry(handle).memory[layer];
    if (found) return found;
    throw new DomainError('internal_error', `cache handle ${handle} has no rows of an encoder`);
  }

  #openSide(run: number, most: number): number | null {
    const shape = this.shape.sideOf?.(run);
    if (!shape) return null;
    const side = this.#sides.get(run) ?? new KvCache(shape);
    this.#sides.set(run, side);
    return side.open(run, most);
  }

  #closeSide(run: number, handle: number): void {
    const side = this.#sides.get(run);
    side?.close(handle);
    if (side && side.#entries.size === 0) this.#sides.delete(run);
  }

  #entry(handle: number): Entry {
    const entry = this.#entries.get(handle);
    if (!entry) throw new DomainError('internal_error', `cache handle ${handle} is not open`);
    return entry;
  }

  #reserve(entry: Entry, layer: number, rows: number): { k: Tensor; v: Tensor } {
    const old = entry.layers[layer];
    const had = old?.k.shape[0] ?? 0;
    if (old && had >= rows) return old;
    const { headsOf, headDim, dtype } = this.shape;
    const capacity = Math.max(rows, Math.min(entry.most, Math.max(FIRST_CAPACITY, 2 * had)));
    const grown = (from: Tensor | undefined): Tensor => {
      const buffer = keep(empty([capacity, headsOf(entry.run), headDim], dtype));
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
