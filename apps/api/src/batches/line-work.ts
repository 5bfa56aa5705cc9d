import type { DomainError } from '@graft/contracts';
import type { Unanswered } from './batch-answers.js';
import type { LineResult } from './batch-claims.js';

/** Losses of workers after which a line fails: it may be the cause. */
const MOST_LOSSES = 3;

export interface LineWorkOptions<L> {
  readonly lines: AsyncGenerator<L>;
  /** Maximum number of lines in progress. */
  readonly most: number;
  /** Losses of workers by line. They are updated. */
  readonly losses: Map<number, number>;
  readonly answer: (line: L, mayBeLost: boolean) => Promise<LineResult | Unanswered | null>;
  /** Returns the model of a line if lines have several: those of a model that is not available are set aside. */
  readonly modelOf: (line: L) => string | null;
  /** Returns false if the results of this process no longer count. */
  readonly store: (result: LineResult) => Promise<boolean>;
  /** Whether no further line may begin. */
  readonly isOver: () => boolean;
}

/**
 * Answers lines concurrently. Their number grows by one with each answer, and shrinks to three quarters when workers have no
 * capacity, so that batches share it. After a worker was lost, the lines that it had are tried one by one, so that a line
 * that crashes its trainer is found.
 */
export class LineWork<L extends { readonly number: number }> {
  private readonly again: L[] = [];
  private readonly lanes = new Set<Promise<void>>();
  /** Number of lanes that have not decided to end. */
  private active = 0;
  private allowed = 1;
  private waitsFor: DomainError | null = null;
  private isLost = false;
  private failure: unknown = null;
  /** Models that are not available in this run. */
  private readonly aside = new Set<string>();

  constructor(private readonly options: LineWorkOptions<L>) {}

  /** @returns the reason to wait, if lines remain that cannot be answered now */
  async run(): Promise<DomainError | null> {
    this.open();
    while (this.lanes.size > 0) await Promise.race(this.lanes);
    await this.options.lines.return(undefined);
    if (this.failure !== null) throw this.failure;
    return this.waitsFor;
  }

  private open(): void {
    this.active += 1;
    const lane = this.lane()
      .catch((error: unknown) => void (this.failure ??= error))
      .finally(() => this.lanes.delete(lane));
    this.lanes.add(lane);
  }

  private async lane(): Promise<void> {
    try {
      while (await this.answerNext());
    } finally {
      this.active -= 1;
    }
  }

  /** Answers a line. Returns false if the lane ends. */
  private async answerNext(): Promise<boolean> {
    const { losses, answer, store, isOver, modelOf } = this.options;
    if (this.isLost || this.failure !== null || isOver() || this.active > this.allowed)
      return false;
    const line = await this.next();
    if (line === null) return false;
    const lost = losses.get(line.number) ?? 0;
    const result = await answer(line, lost < MOST_LOSSES);
    if (result === null) return false;
    if (!('error' in result)) {
      this.isLost ||= !(await store(result));
      this.grow();
      return true;
    }
    if (result.loss > 0) losses.set(line.number, lost + result.loss);
    const model = result.isFull || result.loss > 0 ? null : modelOf(line);
    if (model !== null) {
      this.aside.add(model);
      this.waitsFor = result.error;
      return true;
    }
    this.again.push(line);
    if (result.loss > 0) this.allowed = 1;
    // A trainer that crashed is started again by the next request.
    if (result.loss === 1) return true;
    this.allowed = Math.max(1, Math.floor(0.75 * this.active));
    // Another lane continues with the line, unless this is the last one.
    if (this.active === 1) this.waitsFor = result.error;
    return false;
  }

  private async next(): Promise<L | null> {
    const { lines, modelOf } = this.options;
    for (;;) {
      const again = this.again.shift();
      const { value, done } = again ? { value: again, done: false } : await lines.next();
      if (done) return null;
      const model = modelOf(value as L);
      if (model === null || !this.aside.has(model)) return value as L;
    }
  }

  private grow(): void {
    if (this.again.length > 0 || this.allowed >= this.options.most) return;
    this.allowed += 1;
    if (this.active < this.allowed) this.open();
  }
}
