/** Memory layout of a stack's rows: its sequences, and the rows of virtual tokens. */
import { DomainError } from '@graft/contracts';
import { isFeatures, runRows } from './batch.js';
import type { PackedRows, RunRows, Sequence } from './batch.js';
import type { KvCache } from './kv-cache.js';
import type { Slot, VirtualInputs, VirtualPrefix } from './sites/slots.js';

/** Consecutive rows that attend to each other. */
export interface Segment {
  readonly run: number;
  readonly rows: number;
  /** Number of virtual tokens, which come first. */
  readonly virtual: number;
  /**
   * Index of the segment whose rows, and whatever it sees, precede this one's: virtual tokens, or the
   * sequence that it continues. -1 if there is none.
   */
  readonly shared: number;
  /** Number of prefix keys per layer that precede this segment's own. */
  readonly prefix: number;
  /** Number of positions of the whole sequence. */
  readonly length: number;
  /** Handle in the cache, or null. */
  readonly cache: number | null;
}

/** Virtual rows of a run, and the real rows that follow them. */
export interface Span {
  readonly run: number;
  /** Tasks of the prompts in the virtual rows, in order. All prompts have the same length. */
  readonly taskIds: readonly number[];
  readonly virtual: number;
  readonly real: number;
}

/** Location of a run's segments. */
interface Places {
  /** Number of segments before them. */
  readonly before: number;
  /** Number of virtual tokens before each sequence. */
  readonly inputs: number;
  /** Number of prefix keys and values before each sequence. */
  readonly prefix: number;
  /** Positions of the batch's real rows. */
  readonly positions: Int32Array;
}

/** Rows that a run may insert before its sequences. */
export interface VirtualSlots {
  readonly inputs: Slot<VirtualInputs>;
  readonly prefix: Slot<VirtualPrefix>;
}

/**
 * Rows in order of runs. In causal stacks a run's virtual tokens come once (or once per task) before its
 * sequences, which all see them. Where virtual tokens see the sequences as well, each sequence has its own.
 * Positions count virtual tokens and prefixes, which precede every sequence of their run.
 */
export class PackedLayout {
  readonly segments: readonly Segment[];
  readonly positions: Int32Array;
  /** Number of positions of each row's whole sequence. */
  readonly lengths: Int32Array;
  /** Token type of each row. Virtual tokens have the first type. */
  readonly types: Int32Array;
  /** Rows by run, with and without virtual tokens. */
  readonly rows: readonly RunRows[];
  readonly realRows: readonly RunRows[];
  readonly spans: readonly Span[];

  constructor(
    packed: PackedRows,
    private readonly slots: VirtualSlots,
    private readonly kind: 'causal' | 'bidirectional',
    private readonly cache?: KvCache,
  ) {
    check(packed);
    this.realRows = runRows(packed.sequences);
    const segments: Segment[] = [];
    const spans: Span[] = [];
    const rows: RunRows[] = [];
    const positions: number[] = [];
    const types: number[] = [];
    let at = 0;
    for (const { run, start, length } of this.realRows) {
      const sequences = packed.sequences.filter((sequence) => sequence.run === run);
      const inputs = slots.inputs.of(run)?.length ?? 0;
      const prefix = slots.prefix.of(run)?.length ?? 0;
      if (inputs > 0 && prefix > 0) fail(`run ${run} has virtual inputs and a prefix`);
      const found = this.#spans(run, sequences, length, inputs);
      const places = { before: segments.length, inputs, prefix, positions: packed.positions };
      segments.push(...this.#segments(sequences, found, places));
      let row = start;
      for (const { virtual, real } of found) {
        for (let i = 0; i < virtual; i++) {
          positions.push(prefix + (i % inputs));
          types.push(0);
        }
        for (let i = 0; i < real; i++, row++) {
          positions.push((packed.positions[row] as number) + inputs + prefix);
          types.push(packed.types?.[row] ?? 0);
        }
      }
      const count = length + found.reduce((sum, { virtual }) => sum + virtual, 0);
      spans.push(...found);
      rows.push({ run, start: at, length: count });
      at += count;
    }
    this.segments = segments;
    this.spans = spans;
    this.rows = rows;
    this.positions = Int32Array.from(positions);
    this.lengths = new Int32Array(at);
    let from = 0;
    for (const segment of segments) this.lengths.fill(segment.length, from, (from += segment.rows));
    this.types = Int32Array.from(types);
  }

  /** Largest position. */
  get furthest(): number {
    return this.positions.reduce((most, position) => Math.max(most, position), 0);
  }

  get hasVirtual(): boolean {
    return this.spans.some(({ virtual }) => virtual > 0);
  }

  /** Whether virtual rows have their own segments. */
  get sharesVirtual(): boolean {
    return this.kind === 'causal';
  }

  #isFresh({ cache: handle }: Sequence): boolean {
    return this.cache === undefined || handle === undefined || this.cache.length(handle) === 0;
  }

  /** Task of the prompt before a sequence. */
  #taskOf({ run, taskId = 0 }: Sequence): number {
    const { tasks = 1 } = this.slots.inputs.of(run) ?? {};
    return tasks === 1 ? 0 : taskId;
  }

  #spans(run: number, sequences: readonly Sequence[], length: number, inputs: number): Span[] {
    if (inputs === 0) return [{ run, taskIds: [], virtual: 0, real: length }];
    if (!this.sharesVirtual)
      return sequences.map((sequence) => ({
        run,
        taskIds: [this.#taskOf(sequence)],
        virtual: inputs,
        real: sequence.length,
      }));
    const fresh = sequences.filter((sequence) => this.#isFresh(sequence));
    const taskIds = [...new Set(fresh.map((sequence) => this.#taskOf(sequence)))];
    return [{ run, taskIds, virtual: taskIds.length * inputs, real: length }];
  }

  #segments(
    sequences: readonly Sequence[],
    spans: readonly Span[],
    { before, inputs, prefix, positions }: Places,
  ): Segment[] {
    const { run, taskIds } = spans[0] as Span;
    const shared = this.sharesVirtual ? taskIds : [];
    const own = this.sharesVirtual ? 0 : inputs;
    const prompts = shared.map((): Segment => {
      const length = prefix + inputs;
      return { run, rows: inputs, virtual: inputs, shared: -1, prefix, length, cache: null };
    });
    const each = sequences.map((sequence, i): Segment => {
      const isFresh = this.#isFresh(sequence);
      const end = positions[sequence.start + sequence.length - 1] as number;
      const { after } = sequence;
      // The rows that a segment sees before its own must be contiguous: after virtual rows, those of the
      // first
      // sequence.
      const liesTogether = inputs + prefix === 0 || (after === i && shared.length <= 1);
      if (after !== undefined && (!this.sharesVirtual || !liesTogether || this.cache))
        fail(
          `the sequence at row ${sequence.start} continues another one, which is not supported here`,
        );
      const prompt =
        isFresh && shared.length > 0 ? before + shared.indexOf(this.#taskOf(sequence)) : -1;
      return {
        run,
        length: prefix + inputs + (sequence.whole ?? end + 1),
        rows: own + sequence.length,
        virtual: own,
        shared: after === undefined ? prompt : before + shared.length + i - after,
        prefix: isFresh ? prefix : 0,
        cache: this.cache === undefined ? null : (sequence.cache ?? null),
      };
    });
    return [...prompts, ...each];
  }
}

const fail = (message: string): never => {
  throw new DomainError('internal_error', `batch: ${message}`);
};

function check({ inputs, positions, sequences }: PackedRows): void {
  const count = rowsIn(inputs, positions.length);
  if (isFeatures(inputs) && inputs.features.length !== sequences.length)
    fail(`${inputs.features.length} inputs for ${sequences.length} sequences`);
  if (positions.length !== count) fail(`${count} rows but ${positions.length} positions`);
  const left = new Set<number>();
  let at = 0;
  let run: number | null = null;
  for (const [i, sequence] of sequences.entries()) {
    if (sequence.start !== at)
      fail(`a sequence starts at row ${sequence.start}, the one before ends at ${at}`);
    if (sequence.length < 1) fail(`the sequence at row ${at} is empty`);
    checkAfter(sequences, i);
    if (sequence.run !== run) {
      if (left.has(sequence.run)) fail(`the rows of run ${sequence.run} are not contiguous`);
      if (run !== null) left.add(run);
      run = sequence.run;
    }
    at += sequence.length;
  }
  if (at !== count) fail(`sequences cover ${at} of ${count} rows`);
  if (at === 0) fail('it is empty');
}

/** @param made number of rows that a front end produces */
function rowsIn(inputs: PackedRows['inputs'], made: number): number {
  if (inputs instanceof Int32Array) return inputs.length;
  return isFeatures(inputs) ? made : (inputs.shape[0] as number);
}

/** Checks that a sequence continues one of the same run that does not itself continue another. */
function checkAfter(sequences: readonly Sequence[], at: number): void {
  const { run, start, after } = sequences[at] as Sequence;
  if (after === undefined) return;
  const from = after >= 1 ? sequences[at - after] : undefined;
  if (from?.run !== run || from.after !== undefined)
    fail(`the sequence at row ${start} must continue one of its run that continues no other`);
}
