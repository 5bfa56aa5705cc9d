import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { Command_Action, type Assignment, type Command, type Lease } from '@graft/contracts/grpc';
import { keyOf, type AttemptKey } from '../protocol/protocol.js';
import { Attempt, type AttemptOptions } from './attempt.js';

export interface AttemptsOptions extends Omit<AttemptOptions, 'assignment' | 'folder' | 'onEnd'> {
  /** Attempts that train, or are being prepared for it, at a time. */
  readonly slots: number;
  /** Each attempt has a folder in it. */
  readonly folder: string;
}

/** The leases that this worker holds. */
export class Attempts {
  private readonly byKey = new Map<string, Attempt>();
  private count = 0;
  private takesNone = false;

  constructor(private readonly options: AttemptsOptions) {}

  get size(): number {
    return this.byKey.size;
  }

  get freeSlots(): number {
    if (this.takesNone) return 0;
    let busy = 0;
    for (const attempt of this.byKey.values()) if (attempt.occupiesSlot) busy += 1;
    return Math.max(0, this.options.slots - busy);
  }

  get leases(): Lease[] {
    return [...this.byKey.values()].map((attempt) => attempt.lease);
  }

  /** Takes a lease. What does not fit goes back and is assigned again: two answers may cross a Pull. */
  assign(assignment: Assignment): void {
    const key = keyOf(assignment);
    if (this.byKey.has(key)) return;
    // An older attempt of the same job here is a zombie: the higher number proves it.
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
      case Command_Action.ACTION_UNSPECIFIED:
      default:
        this.options.log.warn(
          { job: command.jobId, attempt: command.attempt, action: command.action satisfies 0 },
          'the control plane sent a command that this worker does not know; is it newer?',
        );
    }
  }

  /** The control plane says that these are not ours any more. */
  killLost(leases: readonly AttemptKey[]): void {
    for (const lease of leases) this.byKey.get(keyOf(lease))?.kill();
  }

  /** Every run saves a checkpoint and is handed back. */
  stopAll(): void {
    for (const attempt of this.byKey.values()) attempt.stop('drain');
  }

  /** The same, and from now on nothing is taken. */
  drain(): void {
    this.takesNone = true;
    this.stopAll();
  }

  /** Ends every attempt at once, without an event; nothing is taken any more. */
  close(): void {
    this.takesNone = true;
    const reason = new DomainError('unavailable', 'the worker is closing');
    for (const attempt of this.byKey.values()) attempt.abandon(reason);
  }
}
