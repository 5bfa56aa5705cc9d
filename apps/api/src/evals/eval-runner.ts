import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { Eval, type EvalItem, type EvalRun } from '../database/entities/evals.js';
import { log } from '../log.js';
import { EvalClaims, type RunClaim } from './eval-claims.js';
import { EvalItems } from './eval-items.js';
import { ItemGrading, type Wait } from './grade-item.js';

/** Runs that this process works on concurrently, each of a different project. */
const MOST_RUNS = 8;
/** Items of a run that are graded concurrently: enough for a worker to generate their tokens in one batch. */
const MOST_ITEMS = 4;
/** Items read in one query. */
const BATCH = 50;

/**
 * Grades eval runs in the background. Each run is worked on by one API process at a time, and each item is graded
 * once.
 */
@Injectable()
export class EvalRunner implements OnModuleDestroy {
  private readonly running = new Map<string, AbortController>();
  private readonly work = new Set<Promise<void>>();
  private timer: NodeJS.Timeout | null = null;
  private isLooking = false;
  private again = false;
  private closing = false;

  constructor(
    private readonly database: Database,
    private readonly settings: Settings,
    private readonly claims: EvalClaims,
    private readonly items: EvalItems,
    private readonly grading: ItemGrading,
  ) {}

  /** Starts new runs and resumes those that other processes left unfinished, now and at regular intervals. */
  watch(): void {
    this.timer = setInterval(() => this.scan(), Math.min(5_000, this.settings.leaseMs / 3));
    this.scan();
  }

  scan(): void {
    this.again = true;
    if (this.isLooking) return;
    this.isLooking = true;
    this.track(this.scanRepeatedly());
  }

  /** Claims runs. Only one call runs at a time, since two would fill the same slots. It never rejects. */
  private async scanRepeatedly(): Promise<void> {
    try {
      while (this.again && !this.closing) {
        this.again = false;
        for (const claim of await this.claims.take(MOST_RUNS - this.running.size))
          this.track(this.run(claim));
      }
    } catch (error) {
      log.warn({ err: error }, 'could not claim eval runs');
    } finally {
      this.isLooking = false;
    }
  }

  /** Stops a run that was canceled or deleted. Another process that works on it notices when it renews its claim. */
  stop(id: string): void {
    this.running.get(id)?.abort();
  }

  private track(work: Promise<void>): void {
    this.work.add(work);
    void work.finally(() => this.work.delete(work));
  }

  /** Works on a run. It never rejects. */
  private async run(claim: RunClaim): Promise<void> {
    const stop = new AbortController();
    this.running.set(claim.id, stop);
    const timer = setInterval(() => {
      this.claims.renew(claim).then(
        (isOwned) => isOwned || stop.abort(),
        (error: unknown) =>
          log.warn({ err: error, run: claim.id }, 'could not renew the claim on an eval run'),
      );
    }, this.settings.leaseMs / 3);
    try {
      if (!this.closing) await this.grade(claim, stop.signal);
    } catch (error) {
      log.warn({ err: error, run: claim.id }, 'an eval run was interrupted and will be resumed');
      // Wait, because the cause may persist.
      await new Promise((resolve) => setTimeout(resolve, this.closing ? 0 : 1_000));
    } finally {
      clearInterval(timer);
      this.running.delete(claim.id);
    }
    await this.claims
      .release(claim)
      .catch((error: unknown) =>
        log.warn({ err: error, run: claim.id }, 'could not release an eval run'),
      );
    this.scan();
  }

  /**
   * Grades items of the run until it is complete, has to wait, or has used its turn while others wait for its slot.
   */
  private async grade(claim: RunClaim, stop: AbortSignal): Promise<void> {
    const run = await this.claims.run(claim);
    const of =
      run && (await this.database.manager.getRepository(Eval).findOneBy({ id: run.eval_id }));
    if (!run || !of) return;
    const width = await this.claims.concurrency(run.project_id, MOST_ITEMS);
    const next = this.itemReader(run, stop);
    const turnEnds = performance.now() + this.settings.evalTurnMs;
    let waits = run.waiting_since !== null;
    const halted: Wait[] = [];
    const isOver = (): boolean =>
      stop.aborted ||
      halted.length > 0 ||
      (performance.now() > turnEnds && this.running.size >= MOST_RUNS);
    const done = async (): Promise<void> => {
      for (let item = await next(); item && !stop.aborted; item = isOver() ? null : await next()) {
        const graded = await this.grading.grade({ run, criteria: of.testing_criteria }, item, stop);
        if (graded === null) return;
        if ('wait' in graded) {
          await this.claims.storePartial(claim, graded);
          return void halted.push(graded.wait);
        }
        if (!(await this.claims.grade(claim, graded))) return;
        if (waits) await this.claims.endWait(claim);
        waits = false;
      }
    };
    const all = await Promise.allSettled(Array.from({ length: width }, done));
    const failed = all.find((one) => one.status === 'rejected');
    if (failed) throw failed.reason;
    if (stop.aborted) return;
    const [waitsFor] = halted;
    if (waitsFor) this.scanAfter(await this.claims.wait(claim, waitsFor));
    else await this.claims.finish(claim);
  }

  private scanAfter(ms: number | null): void {
    if (ms !== null) setTimeout(() => this.scan(), ms).unref();
  }

  /** Returns a function that yields the run's items one by one, for concurrent callers. */
  private itemReader(run: EvalRun, stop: AbortSignal): () => Promise<EvalItem | null> {
    let batch: EvalItem[] = [];
    let after = -1;
    let reading: Promise<void> | null = null;
    const read = async (): Promise<void> => {
      batch = await this.items.queued(run.id, after, BATCH);
      after = batch.at(-1)?.number ?? after;
    };
    return async () => {
      while (batch.length === 0) {
        reading ??= read().finally(() => (reading = null));
        await reading;
        if (batch.length === 0 || stop.aborted) return null;
      }
      return batch.shift() ?? null;
    };
  }

  async onModuleDestroy(): Promise<void> {
    this.closing = true;
    if (this.timer) clearInterval(this.timer);
    for (const stop of this.running.values()) stop.abort();
    await Promise.race([
      Promise.allSettled(this.work),
      new Promise((resolve) => setTimeout(resolve, 3000).unref()),
    ]);
  }
}
