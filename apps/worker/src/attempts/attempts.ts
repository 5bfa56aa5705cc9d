import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { Command_Action, type Assignment, type Command, type Lease } from '@graft/contracts/grpc';
import { keyOf, type AttemptKey } from '../protocol/protocol.js';
import { Attempt, type AttemptOptions } from './attempt.js';

export interface AttemptsOptions extends Omit<AttemptOptions, 'assignment' | 'folder' | 'onEnd'> {
  /** Maximum number of attempts in preparation or training. */
  readonly slots: number;
  /** Folder with a subfolder for each attempt. */
  readonly folder: string;
}

/** Leases of this worker. */
export class Attempts {
  private readonly byKey = new Map<string, Attempt>();
  private count = 0;
  private isDraining = false;

  constructor(private readonly options: AttemptsOptions) {}

  get size(): number {
    return this.byKey.size;
  }

  get freeSlots(): number {
    if (this.isDraining) return 0;
    let busy = 0;
    for (const attempt of this.byKey.values()) if (attempt.occupiesSlot) busy += 1;
    return Math.max(0, this.options.slots - busy);
  }

  get leases(): Lease[] {
    return [...this.byKey.values()].map((attempt) => attempt.lease);
  }

  /** Accepts a lease. Without a free slot, it is returned and assigned again; assignments may cross a Pull. */
  assign(assignment: Assignment): void {
    const key = keyOf(assignment);
    if (this.byKey.has(key)) return;
    // The higher number proves that an older attempt of the same job is stale.
    for (const attempt of this.byKey.values())
      if (attempt.jobId === assignment.jobId) attempt.kill();
    const attempt = new Attempt({
      ...this.options,
      assignment,
      folder: join(this.options.folder, `${++this.count}-a${assignment.attempt}`),
      onEnd: () => this.byKey.delete(key),
    });
    const isFree = this.freeSlots > 0;
    this.byKey.set(key, attempt);
    this.options.log.info(
      {
        job: assignment.jobId,
        attempt: assignment.attempt,
        base: assignment.base?.id,
        from_step: assignment.checkpointStep,
      },
      'assigned',
    );
    if (isFree) void attempt.start();
    else attempt.stop('drain');
  }

  handleCommand(command: Command): void {
    const attempt = this.byKey.get(keyOf(command));
    switch (command.action) {
      case Command_Action.ACTION_CANCEL:
        return attempt?.stop('cancel');
      case Command_Action.ACTION_PAUSE:
        return attempt?.stop('pause');
      case Command_Action.ACTION_KILL:
        return attempt?.kill();
      case Command_Action.ACTION_PREEMPT:
        return attempt?.stop('preempt');
      case Command_Action.ACTION_FINISH:
        return attempt?.finishAt(command.step ?? 0);
      case Command_Action.ACTION_INTERRUPT:
        return attempt?.interrupt();
      case Command_Action.ACTION_UNSPECIFIED:
      default:
        this.options.log.warn(
          { job: command.jobId, attempt: command.attempt, action: command.action satisfies 0 },
          'unknown command from the control plane, which may be newer than this worker',
        );
    }
  }

  /** Kills attempts whose leases were lost. */
  killLost(leases: readonly AttemptKey[]): void {
    for (const lease of leases) this.byKey.get(keyOf(lease))?.kill();
  }

  /** Stops all runs with a checkpoint and returns their jobs. */
  stopAll(): void {
    for (const attempt of this.byKey.values()) attempt.stop('drain');
  }

  /** Stops all runs like `stopAll`, and accepts no more leases. */
  drain(): void {
    this.isDraining = true;
    this.stopAll();
  }

  /** Ends all attempts immediately without events, and accepts no more leases. */
  close(): void {
    this.isDraining = true;
    const reason = new DomainError('unavailable', 'the worker is closing');
    for (const attempt of this.byKey.values()) attempt.abandon(reason);
  }
}
