// Adapters that answers are made with. Attaching takes longer than a token, so those of recent ones stay, and where it
// takes long (weights are decomposed) it is done in pieces: other answers, and runs, have their turns in between.
import {
  attachingMethod,
  readAdapter,
  type Adapter,
  type Base,
  type HeadRequest,
} from '@graft/peft-core';
import type { AdapterSource } from '../protocol/protocol.js';

const KEPT_ADAPTERS = 8;
/** Run ids of answers; those of training runs are positive, -1 is the bare base. */
const FIRST_RUN = -2;

interface Attached {
  readonly run: number;
  readonly adapter: Adapter;
}

/** One that is being made. */
interface Making {
  readonly run: number;
  readonly work: Generator<void, Adapter, undefined>;
  failed: { readonly error: unknown } | null;
}

/** Who answers by adapters. */
interface User {
  /** Runs that it uses: those stay. */
  runs(): Iterable<number>;
  /** Keys of adapters that it waits for. */
  waitsFor(): Iterable<string>;
}

export interface MakingOptions {
  /** Called while one is made, which takes long where it decomposes weights: who says nothing counts as hung. */
  readonly tell?: (done: number, of: number) => void;
  /** Of a piece. */
  readonly pieceMs?: number;
}

export class AttachedAdapters {
  private readonly adapters = new Map<string, Attached>();
  private readonly making = new Map<string, Making>();
  private readonly users: User[] = [];
  private nextRun = FIRST_RUN;

  constructor(
    private readonly base: Base,
    private readonly options: MakingOptions = {},
  ) {}

  usedBy(user: User): void {
    this.users.push(user);
  }

  /**
   * The run id under which the adapter is attached; null while it is being made, by `work`.
   * @param head that its task has
   * @throws what making it failed with
   */
  attach(source: AdapterSource, head: HeadRequest | null = null): number | null {
    const { key } = source;
    const known = this.adapters.get(key);
    if (known) {
      // The one used last goes last.
      this.adapters.delete(key);
      this.adapters.set(key, known);
      return known.run;
    }
    const making = this.making.get(key) ?? this.begin(source, head);
    if (making.failed) {
      this.making.delete(key);
      throw making.failed.error;
    }
    return this.adapters.get(key)?.run ?? null;
  }

  /** Lets go of those that nobody waits for any more, and goes on with the first of the others, a piece. */
  work(): void {
    this.drop();
    for (const [key, making] of this.making) if (!making.failed) return this.further(key, making);
  }

  /** Lets go of those that nobody waits for any more. */
  drop(): void {
    const wanted = new Set(this.users.flatMap((user) => [...user.waitsFor()]));
    for (const [key, { work }] of this.making) {
      if (wanted.has(key)) continue;
      this.making.delete(key);
      work.return(undefined as never);
    }
  }

  /** Most are made in one piece. */
  private begin({ key, dir }: AdapterSource, head: HeadRequest | null): Making {
    const run = this.nextRun--;
    const making: Making = { run, work: this.made(run, dir, head), failed: null };
    this.making.set(key, making);
    this.further(key, making);
    return making;
  }

  private further(key: string, making: Making): void {
    try {
      const { done, value: adapter } = making.work.next();
      if (!done) return;
      this.making.delete(key);
      this.adapters.set(key, { run: making.run, adapter });
      this.evict(making.run);
    } catch (error) {
      making.failed = { error };
    }
  }

  private *made(
    run: number,
    dir: string,
    head: HeadRequest | null,
  ): Generator<void, Adapter, undefined> {
    const { base, options } = this;
    const stored = readAdapter(dir, base.config);
    let isReady = false;
    try {
      const adapter = yield* attachingMethod(base.model, stored.peft, {
        run,
        seed: 0,
        head,
        adapters: stored.adapters,
        begun: true,
        ...(options.pieceMs !== undefined && { pieceMs: options.pieceMs }),
        ...(options.tell && { onModule: options.tell }),
        tokenize: (text) => base.tokenizer.encode(text, { special: true }),
      });
      try {
        adapter.load(stored.tensors);
        adapter.freeze?.();
        if (adapter.ready) yield* adapter.ready();
        isReady = true;
        return adapter;
      } finally {
        if (!isReady) adapter.detach();
      }
    } finally {
      stored.dispose();
    }
  }

  private evict(newest: number): void {
    const inUse = new Set(this.users.flatMap((user) => [...user.runs()]));
    for (const [key, { run, adapter }] of this.adapters) {
      if (this.adapters.size <= KEPT_ADAPTERS) return;
      if (inUse.has(run) || run === newest) continue;
      adapter.detach();
      this.adapters.delete(key);
    }
  }
}
