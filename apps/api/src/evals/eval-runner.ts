import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { Eval, type EvalItem, type EvalRun } from '../database/entities/evals.js';
import { log } from '../log.js';
import { EvalClaims, type RunClaim } from './eval-claims.js';
import { EvalItems } from './eval-items.js';
import { ItemGrading, type Wait } from './grade-item.js';

/** At work in this process, each of another project. */
const MOST_RUNS = 8;
/** Of a run at once: enough for a worker to make their tokens together. */
const MOST_ITEMS = 4;
/** Read at once. */
const BATCH = 50;

/** Does runs in the background: each by one API process at a time, its items once. */
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

  /** Takes up what is new, and what a process has left unfinished, now and from time to time. */
  watch(): void {
    this.timer = setInterval(() => this.look(), Math.min(5_000, this.settings.leaseMs / 3));
    this.look();
  }

  look(): void {
    this.again = true;
    if (this.isLooking) return;
    this.isLooking = true;
    this.keep(this.looks());
  }

  /** One look at a time: two would each fill the same slots. Never rejects. */
  private async looks(): Promise<void> {
    try {
      while (this.again && !this.closing) {
        this.again = false;
        for (const claim of await this.claims.take(MOST_RUNS - this.running.size))
          this.keep(this.run(claim));
      }
    } catch (error) {
      log.warn({ err: error }, 'could not look for runs of evals');
    } finally {
      this.isLooking = false;
    }
  }

  /** It was cancelled or deleted; another process that does it finds out when it renews. */
  stop(id: string): void {
    this.running.get(id)?.abort();
  }

  private keep(work: Promise<void>): void {
    this.work.add(work);
    void work.finally(() => this.work.delete(work));
  }

  /** Never rejects. */
  private async run(claim: RunClaim): Promise<void> {
    const stop = new AbortController();
    this.running.set(claim.id, stop);
    const timer = setInterval(() => {
      this.claims.renew(claim).then(
        (isMine) => isMine || stop.abort(),
        (error: unknown) => log.warn({ err: error, run: claim.id }, 'could not renew a run'),
      );
    }, this.settings.leaseMs / 3);
    try {
      if (!this.closing) await this.grade(claim, stop.signal);
    } catch (error) {
      log.warn({ err: error, run: claim.id }, 'a run of an eval stopped; it goes on later');
      // Not at once: what stopped it may still be there.
      await new Promise((resolve) => setTimeout(resolve, this.closing ? 0 : 1_000));
    } finally {
      clearInterval(timer);
      this.running.delete(claim.id);
    }
    await this.claims
      .leave(claim)
      .catch((error: unknown) => log.warn({ err: error, run: claim.id }, 'could not leave a run'));
    this.look();
  }

  /** The run's turn: until it is done, it can do nothing but wait, or others have waited long enough for its slot. */
  private async grade(claim: RunClaim, stop: AbortSignal): Promise<void> {
    const run = await this.claims.run(claim);
    const of =
      run && (await this.database.manager.getRepository(Eval).findOneBy({ id: run.eval_id }));
    if (!run || !of) return;
    const width = await this.claims.width(run.project_id, MOST_ITEMS);
    const next = this.each(run, stop);
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
        if ('waitsFor' in graded) {
          await this.claims.hold(claim, graded);
          return void halted.push(graded.waitsFor);
        }
        if (!(await this.claims.grade(claim, graded))) return;
        if (waits) await this.claims.goesOn(claim);
        waits = false;
      }
    };
    const all = await Promise.allSettled(Array.from({ length: width }, done));
    const failed = all.find((one) => one.status === 'rejected');
    if (failed) throw failed.reason;
    if (stop.aborted) return;
    const [waitsFor] = halted;
    if (waitsFor) this.lookIn(await this.claims.wait(claim, waitsFor));
    else await this.claims.finish(claim);
  }

  private lookIn(ms: number | null): void {
    if (ms !== null) setTimeout(() => this.look(), ms).unref();
  }

  /** The run's items one by one, for several who take them. */
  private each(run: EvalRun, stop: AbortSignal): () => Promise<EvalItem | null> {
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
