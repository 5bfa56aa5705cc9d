// Adapters of model requests. Attaching an adapter takes longer than a token, so recently used adapters stay attached. If
// it takes long (when weights are decomposed), it is done in parts, so that other requests and runs continue in between.
import {
  attachingMethod,
  readAdapter,
  type Adapter,
  type Base,
  type HeadRequest,
} from '@graft/peft-core';
import type { AdapterSource } from '../protocol/protocol.js';

const KEPT_ADAPTERS = 8;
/** First run ID of requests, counting down. IDs of training runs are positive, and -1 is the base without an adapter. */
const FIRST_RUN = -2;

interface Attached {
  readonly run: number;
  readonly adapter: Adapter;
}

/** Adapter that is being attached. */
interface Making {
  readonly run: number;
  readonly work: Generator<void, Adapter, undefined>;
  failed: { readonly error: unknown } | null;
}

/** User of adapters. */
interface User {
  /** Runs in use, which stay attached. */
  runs(): Iterable<number>;
  /** Keys of the adapters that it waits for. */
  waitsFor(): Iterable<string>;
}

export interface MakingOptions {
  /** Called during a long attachment, so that the process does not count as hung. */
  readonly onProgress?: (done: number, of: number) => void;
  /** Target duration of a part. */
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
   * Returns the run ID of an attached adapter; null while `work` is attaching it.
   * @param head head of the adapter's task
   * @throws the error with which attaching failed
   */
  attach(source: AdapterSource, head: HeadRequest | null = null): number | null {
    const { key } = source;
    const attached = this.adapters.get(key);
    if (attached) {
      // Keep the map in order of use.
      this.adapters.delete(key);
      this.adapters.set(key, attached);
      return attached.run;
    }
    const making = this.making.get(key) ?? this.begin(source, head);
    if (making.failed) {
      this.making.delete(key);
      throw making.failed.error;
    }
    return this.adapters.get(key)?.run ?? null;
  }

  /** Cancels attachments that are no longer needed, and continues the first of the others by a part. */
  work(): void {
    this.drop();
    for (const [key, making] of this.making) if (!making.failed) return this.further(key, making);
  }

  /** Cancels attachments that are no longer needed. */
  drop(): void {
    const needed = new Set(this.users.flatMap((user) => [...user.waitsFor()]));
    for (const [key, { work }] of this.making) {
      if (needed.has(key)) continue;
      this.making.delete(key);
      work.return(undefined as never);
    }
  }

  /** Starts attaching an adapter. Most need only one part. */
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
        warmStart: true,
        ...(options.pieceMs !== undefined && { pieceMs: options.pieceMs }),
        ...(options.onProgress && { onModule: options.onProgress }),
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
