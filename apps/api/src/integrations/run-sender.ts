import { performance } from 'node:perf_hooks';
import type { IntegrationType } from '@graft/contracts';
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Settings, VERSION } from '../config.js';
import { JobPoints } from '../history/job-points.js';
import { log } from '../log.js';
import { Outbound } from '../outbound/outbound.js';
import { mlflow } from './mlflow.js';
import { DEADLINE_MS, RunClaims, type DueRun, type TrackerClaim } from './run-claims.js';
import { TrackerError, type SendRequest, type Tracker } from './tracker.js';
import { wandb } from './wandb.js';

const TRACKERS: Readonly<Record<IntegrationType, Tracker>> = { wandb, mlflow };

/** Maximum number of trackers that this process sends to concurrently. */
const MOST_TRACKERS = 8;
/** Time after which a process releases a tracker. */
const TURN_MS = 5_000;
/** Consecutive 403 responses that end a turn: the key probably has no right to the other runs either. */
const MOST_FORBIDDEN = 3;
/** Time that a shutdown waits for requests in progress. Without a stored result, they are sent again. */
const PATIENCE_MS = 3_000;
/** Maximum number of events per request. */
const MOST_POINTS = 500;
const MOST_BYTES = 1024 * 1024;

/** Whether other runs of the tracker follow. After `forbidden` they do, unless several in a row are. */
type Turn = 'next' | 'over' | 'forbidden';

/** Another process owns the tracker, so this one must not send to it. */
class ClaimLost extends Error {}

/** Sends metrics of jobs to trackers. One API process at a time sends to a tracker, run by run. */
@Injectable()
export class RunSender implements OnModuleDestroy {
  private readonly work = new Set<Promise<void>>();
  private trackers = 0;
  private scanning: Promise<void> | null = null;
  private timer: NodeJS.Timeout | null = null;
  private closing = false;

  constructor(
    private readonly claims: RunClaims,
    private readonly points: JobPoints,
    private readonly outbound: Outbound,
    private readonly settings: Settings,
  ) {}

  /** Periodically sends new data, retries, and continues what another process left. */
  watch(): void {
    this.timer = setInterval(
      () => (this.scanning ??= this.scan().finally(() => (this.scanning = null))),
      Math.min(5_000, this.settings.leaseMs / 3),
    );
  }

  private async scan(): Promise<void> {
    try {
      for (const claim of await this.claims.take(MOST_TRACKERS - this.trackers)) {
        const sending = this.sendTo(claim);
        this.work.add(sending);
        void sending.finally(() => this.work.delete(sending));
      }
    } catch (error) {
      log.warn({ err: error }, 'could not query runs to send to trackers');
    }
  }

  /** Never rejects. */
  private async sendTo(claim: TrackerClaim): Promise<void> {
    this.trackers++;
    const { project_id: project, type } = claim;
    const warn = (error: unknown): void =>
      log.warn({ err: error, project, type }, 'could not send to a tracker; will retry later');
    try {
      const end = performance.now() + TURN_MS;
      let forbidden = 0;
      while (!this.closing && performance.now() < end && forbidden < MOST_FORBIDDEN) {
        const due = await this.claims.next(claim);
        const came = due && (await this.turn(claim, due));
        if (came === null || came === 'over') break;
        forbidden = came === 'forbidden' ? forbidden + 1 : 0;
      }
    } catch (error) {
      if (!(error instanceof ClaimLost)) warn(error);
    }
    await this.claims.release(claim).catch(warn);
    this.trackers--;
  }

  private async turn(claim: TrackerClaim, due: DueRun): Promise<Turn> {
    try {
      return (await this.send(claim, due)) ? 'next' : 'over';
    } catch (error) {
      if (!(error instanceof TrackerError)) throw error;
      if (!error.isOfRun) {
        await this.claims.failed(claim, due, error);
        return 'over';
      }
      await this.claims.rejected(claim, due, error);
      return error.isForbidden ? 'forbidden' : 'next';
    }
  }

  /**
   * Sends new data of a run. A job that ends before training has none. Returns false if the claim is lost.
   */
  private async send(claim: TrackerClaim, due: DueRun): Promise<boolean> {
    const tracker = TRACKERS[due.type];
    const request = this.requestSender(claim);
    let isAccepted = false;
    const ask: SendRequest = async (...args) => {
      const answer = await request(...args);
      isAccepted = true;
      return answer;
    };
    let { remote, cursor } = due;
    if (remote === null && due.started_at !== null) {
      const opened = await tracker.open(ask, due, due);
      remote = opened.remote;
      if (!(await this.claims.opened(claim, due, remote, opened.url))) return false;
    }
    let hasMore = false;
    if (remote !== null) {
      const range = { after: cursor, upTo: due.event_counter, limit: MOST_POINTS };
      const points = await this.points.after(due.id, range);
      if (points.length > 0) remote = await tracker.send(ask, due, remote, due, points);
      else if (due.is_open) await tracker.beat?.(ask, due, remote);
      hasMore = points.length === MOST_POINTS;
      cursor = hasMore ? (points.at(-1)?.number ?? cursor) : due.event_counter;
      if (!hasMore && !due.is_open) await tracker.finish(ask, due, remote, due);
    }
    return this.claims.sent(claim, due, {
      remote,
      cursor,
      isDone: !hasMore && !due.is_open,
      hasMore,
      isAccepted,
    });
  }

  private requestSender(claim: TrackerClaim): SendRequest {
    return async ({ url, secret }, { method, path, headers, body }) => {
      if (!(await this.claims.renew(claim))) throw new ClaimLost();
      const { status, body: text } = await this.outbound
        .send({
          url: `${url.replace(/\/+$/, '')}${path}`,
          method,
          headers: {
            'content-type': 'application/json',
            'user-agent': `Graft/${VERSION}`,
            ...headers,
          },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          timeoutMs: DEADLINE_MS,
          mostBytes: MOST_BYTES,
        })
        .catch((error: unknown) => {
          throw new TrackerError(reasonOf(error), null);
        });
      const answer = parsed(text);
      if (status >= 200 && status < 300) {
        if (answer !== null) return answer;
        throw new TrackerError(
          `answered ${status} without JSON; check that ${url} is the address of the tracker`,
          null,
        );
      }
      const { code, said: detail } = errorIn(answer);
      const hidden = [secret, headers?.['authorization']?.replace(/^\w+ /, '') ?? null];
      const safe = hidden.reduce<string>(
        (all, one) => (one ? all.replaceAll(one, '…') : all),
        detail,
      );
      // A proxy's error page is not an error of the run.
      const isTracker = detail !== '' || code !== null;
      throw new TrackerError(
        `answered ${status}${safe && `: ${safe}`}`,
        isTracker ? status : null,
        code,
      );
    };
  }

  async onModuleDestroy(): Promise<void> {
    this.closing = true;
    if (this.timer) clearInterval(this.timer);
    await Promise.race([
      Promise.allSettled(this.work),
      new Promise((resolve) => setTimeout(resolve, PATIENCE_MS).unref()),
    ]);
  }
}

function parsed(text: string): object | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}

/** Reads MLflow's `error_code` and `message`, or W&B's `error`. */
function errorIn(answer: object | null): { code: string | null; said: string } {
  const { error_code: code, message, error } = (answer ?? {}) as Readonly<Record<string, unknown>>;
  return {
    code: typeof code === 'string' ? code : null,
    said: [message, error].find((one) => typeof one === 'string') ?? '',
  };
}

function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors[0] instanceof Error)
    return reasonOf(error.errors[0]);
  return (error instanceof Error ? error.message : String(error)).slice(0, 300);
}
