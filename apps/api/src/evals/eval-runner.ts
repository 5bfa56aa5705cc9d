import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { ClaimedWork, type Claim } from '../claims/claimed-work.js';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { Eval, type EvalItem, type EvalRun } from '../database/entities/evals.js';
import { Quotas } from '../lifecycle/lease/quotas.js';
import { EvalClaims } from './eval-claims.js';
import { EvalItems } from './eval-items.js';
import { ItemGrading } from './grade-item.js';
import type { Wait } from './graded-item.js';

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
  private readonly runs: ClaimedWork<Claim>;

  constructor(
    private readonly database: Database,
    private readonly settings: Settings,
    private readonly claims: EvalClaims,
    private readonly items: EvalItems,
    private readonly grading: ItemGrading,
    private readonly quotas: Quotas,
  ) {
    this.runs = new ClaimedWork({
      what: 'eval runs',
      most: MOST_RUNS,
      leaseMs: settings.leaseMs,
      claims,
      work: (claim, stop) => this.grade(claim, stop),
    });
  }

  /** Starts new runs and resumes those that other processes left unfinished, now and at regular intervals. */
  watch(): void {
    this.runs.watch();
  }

  scan(): void {
    this.runs.scan();
  }

  /** Stops a run that was canceled or deleted. */
  stop(id: string): void {
    this.runs.stop(id);
  }

  onModuleDestroy(): Promise<void> {
    return this.runs.close();
  }

  /**
   * Grades items of the run until it is complete, has to wait, or has used its turn while others wait for its slot.
   */
  private async grade(claim: Claim, stop: AbortSignal): Promise<void> {
    const run = await this.claims.run(claim);
    const of =
      run && (await this.database.manager.getRepository(Eval).findOneBy({ id: run.eval_id }));
    if (!run || !of) return;
    const width = await this.quotas.backgroundChats(run.project_id, MOST_ITEMS);
    const next = this.itemReader(run, stop);
    const turnEnds = performance.now() + this.settings.evalTurnMs;
    let waits = run.waiting_since !== null;
    const halted: Wait[] = [];
    const isOver = (): boolean =>
      stop.aborted || halted.length > 0 || (performance.now() > turnEnds && this.runs.isFull);
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
    if (!waitsFor) return this.claims.finish(claim);
    const pause = await this.claims.wait(claim, waitsFor);
    if (pause !== null) this.runs.scan(pause);
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
}
