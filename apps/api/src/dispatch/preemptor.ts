import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Command_Action } from '@graft/contracts/grpc';
import { Preemption } from '../lifecycle/lease/preemption.js';
import { log } from '../log.js';
import { WorkerLink } from '../relay/worker-link.js';

const EVERY_MS = 1_000;

/** Checks regularly whether a job of higher priority needs a slot, and asks workers to preempt runs. */
@Injectable()
export class Preemptor implements OnModuleDestroy {
  private timer: NodeJS.Timeout | null = null;
  private checking: Promise<void> | null = null;

  constructor(
    private readonly preemption: Preemption,
    private readonly link: WorkerLink,
  ) {}

  start(): void {
    this.timer = setInterval(() => {
      this.checking ??= this.check()
        .catch((error: unknown) => log.warn({ err: error }, 'could not check for jobs to preempt'))
        .finally(() => (this.checking = null));
    }, EVERY_MS);
  }

  private async check(): Promise<void> {
    for (const pool of await this.preemption.pools())
      for (const victim of await this.preemption.choose(pool)) {
        log.info({ job: victim.id, attempt: victim.attempt, pool }, 'preempting');
        // If the message is lost, the response to the worker's next heartbeat repeats it.
        await this.link.command(victim, Command_Action.ACTION_PREEMPT);
      }
  }

  async onModuleDestroy(): Promise<void> {
    if (this.timer) clearInterval(this.timer);
    await this.checking;
  }
}
