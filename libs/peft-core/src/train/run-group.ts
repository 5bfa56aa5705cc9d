// The runs that share one frozen base: decides whose turn it is (docs/adr/0015) and which runs share a
// forward pass (ADR 0007). Each run has its own loss, gradient norm and update.
import { DomainError, gigabytes } from '@graft/contracts';
import { allocatedBytes, noGrad, Recomputation, tidy } from '@graft/kernels';
import type { Model } from '../models/model.js';
import { NO_SUMS } from '../tasks/task.js';
import { Member } from './member.js';
import { DEFAULT_LIMITS, type Limits } from './micro-batches.js';
import type { Run } from './run.js';
import { Turns } from './turns.js';

/**
 * Maximum number of forward passes of an optimizer step that have their own dropout masks. The number of a
 * forward pass may have 48 bits, which is enough for 2³⁶ steps.
 */
const FORWARDS_PER_STEP = 4096;

export interface RunGroupOptions extends Partial<Limits> {
  /** Called before each piece of work with the runs that it belongs to: several may share a forward pass. */
  readonly onWork?: (runs: readonly Run[]) => void;
  /** Returns the current time in seconds. */
  readonly now?: () => number;
}

export interface Terms {
  /** Seconds that the process has already spent on the run. */
  readonly seconds?: number;
  /** Memory reserved for the run. */
  readonly bytes?: number;
  /** Growth of memory when the run was opened, in bytes. */
  readonly grown?: number;
}

export class RunGroup {
  private readonly members = new Map<number, Member>();
  private readonly turns = new Turns<Member>();
  private readonly limits: Limits;
  private readonly onWork: (runs: readonly Run[]) => void;
  private readonly now: () => number;
  /** Checks the memory of the current work. */
  private check: (() => void) | undefined;

  constructor(
    readonly model: Model,
    options: RunGroupOptions = {},
  ) {
    const { onWork, now, ...limits } = options;
    this.limits = { ...DEFAULT_LIMITS, ...limits };
    this.onWork = onWork ?? (() => undefined);
    this.now = now ?? (() => performance.now() / 1000);
  }

  get runs(): Run[] {
    return this.all.map(({ run }) => run);
  }

  get all(): Member[] {
    return [...this.members.values()];
  }

  get size(): number {
    return this.members.size;
  }

  has({ id }: Run): boolean {
    return this.members.has(id);
  }

  add(run: Run, { seconds = 0, bytes = Infinity, grown = 0 }: Terms = {}): void {
    const member = new Member(run, { bytes, grown, budget: this.limits.budget, now: this.now });
    this.members.set(run.id, member);
    this.turns.join(member, seconds);
  }

  /** Removes a run and frees it. */
  remove(run: Run): void {
    const member = this.members.get(run.id);
    if (member) this.turns.leave(member);
    member?.end();
    this.members.delete(run.id);
    run.dispose();
  }

  /**
   * The members of the next turn: the run that has used the least time and, if its micro-batch is short, all
   * runs of the same task whose next micro-batches are short too, up to the row budget.
   */
  membersOfNextTurn(): Member[] {
    const first = this.turns.next();
    if (first === null) return [];
    if (!this.sharesForwards(first)) return [first];
    let { rows } = first.microBatch;
    const together = new Set([first]);
    for (const other of this.turns.members) {
      if (together.has(other) || other.run.task !== first.run.task) continue;
      if (!this.sharesForwards(other)) continue;
      if (rows + other.microBatch.rows > this.limits.budget) continue;
      together.add(other);
      rows += other.microBatch.rows;
    }
    // In the order in which they joined: the order of the rows must not depend on whose turn it is.
    return this.all.filter((member) => together.has(member));
  }

  /** Charges the time of some work to these members, in equal parts. */
  spend<T>(members: readonly Member[], work: () => T): T {
    const started = this.now();
    for (const member of members) member.work();
    try {
      this.onWork(members.map(({ run }) => run));
      return this.watched(members, work);
    } finally {
      const part = (this.now() - started) / members.length;
      for (const member of members) {
        member.rest();
        this.turns.charge(member, part);
      }
    }
  }

  /**
   * Attributes the growth of memory during some work to these members. Each piece of work may use all that is
   * left of their reservations: memory that the allocator caches after one may be freed during another.
   * @throws DomainError oom_host if memory grows by more than that
   */
  private watched<T>(members: readonly Member[], work: () => T): T {
    const before = allocatedBytes();
    const most = members.reduce((sum, member) => sum + member.mayGrowBy, 0);
    this.check =
      most === Infinity ? undefined : () => refuseBeyond(allocatedBytes() - before, most);
    try {
      const result = work();
      this.check?.();
      return result;
    } finally {
      this.check = undefined;
    }
  }

  /**
   * One forward pass over their next micro-batches and, in steps, a backward pass that adds to the gradients.
   */
  forward(members: readonly Member[]): void {
    const [{ run: first, evaluation }] = members as [Member, ...Member[]];
    const isStep = evaluation === null;
    for (const member of members) member.makeReady();
    const shares = members.map(({ run, microBatch: { examples } }) => ({
      run: run.id,
      examples,
      options: run.spec.task_options,
    }));
    const keys = members.map(({ run: { id, spec, step }, forwardsDone }) => {
      // Counted per run: other runs must not change its dropout masks.
      const forward = step * FORWARDS_PER_STEP + (forwardsDone % FORWARDS_PER_STEP);
      return [id, { seed: spec.seed, step: isStep ? forward : 0 }] as const;
    });
    // if one run requests it, all recompute: recomputed activations have the same bits
    const recomputed = isStep && members.some(({ run }) => run.spec.gradient_checkpointing);
    const recomputation = recomputed ? new Recomputation() : undefined;
    const ctx = { training: isStep, runs: new Map(keys), onLayer: this.check, recomputation };
    const scales = isStep ? new Map(members.map(({ run, scale }) => [run.id, scale])) : null;
    const loss = () => tidy(() => first.task.loss(this.model, shares, ctx, scales));
    let sums: ReturnType<typeof loss>;
    try {
      sums = isStep ? loss() : noGrad(loss);
    } finally {
      recomputation?.dispose();
    }
    for (const member of members) member.take(sums.get(member.run.id) ?? NO_SUMS);
  }

  private sharesForwards(member: Member): boolean {
    if (member.alone || member.state !== 'stepping') return false;
    return member.microBatch.rows < this.limits.shareBelow;
  }
}

function refuseBeyond(grown: number, most: number): void {
  if (grown <= most) return;
  throw new DomainError(
    'oom_host',
    `the run has used ${gigabytes(grown)} of memory, but only ${gigabytes(most)} of its reservation were left; use a smaller batch or max_seq_len`,
    'hyperparameters.batch_size',
  );
}
