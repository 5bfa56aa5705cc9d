import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { DomainError, parseBody, type ResponseStreamEvent } from '@graft/contracts';
import { projectPrincipal } from '../../auth/principal.js';
import { Settings } from '../../config.js';
import type { StoredResponse } from '../../database/entities/responses.js';
import { faultOf, isDependency, toOutageError } from '../../faults.js';
import { log } from '../../log.js';
import { ChatService } from '../chat.service.js';
import { requestForItems, ResponseBody } from './response-body.js';
import { ResponseClaims, type ResponseClaim } from './response-claims.js';
import { ResponseState, type EndedResponse } from './response-state.js';

/** Responses that this process generates concurrently. */
const MOST_RESPONSES = 16;

/** Receives the events of a response. Its errors are ignored: the response does not depend on its client. */
export type Tell = (events: readonly ResponseStreamEvent[]) => Promise<void>;

const tellNobody: Tell = () => Promise.resolve();

/**
 * Generates background responses. One API process at a time generates each of them. If that process dies, another one
 * generates the response from its beginning.
 */
@Injectable()
export class BackgroundResponses implements OnModuleDestroy {
  private readonly running = new Map<string, AbortController>();
  private readonly work = new Set<Promise<void>>();
  private timer: NodeJS.Timeout | null = null;
  private isLooking = false;
  private again = false;
  private closing = false;

  constructor(
    private readonly settings: Settings,
    private readonly claims: ResponseClaims,
    private readonly chats: ChatService,
  ) {}

  /** Begins new responses and those that other processes left unfinished, now and at regular intervals. */
  watch(): void {
    this.timer = setInterval(() => this.scan(), Math.min(5_000, this.settings.leaseMs / 3));
    this.scan();
  }

  scan(): void {
    this.again = true;
    if (this.isLooking) return;
    this.isLooking = true;
    void this.track(this.scanRepeatedly());
  }

  /** Claims responses. Only one call runs at a time, since two would fill the same slots. It never rejects. */
  private async scanRepeatedly(): Promise<void> {
    try {
      while (this.again && !this.closing) {
        this.again = false;
        for (const claim of await this.claims.take(MOST_RESPONSES - this.running.size))
          void this.run(claim);
      }
    } catch (error) {
      log.warn({ err: error }, 'could not claim background responses');
    } finally {
      this.isLooking = false;
    }
  }

  /** Stops a response that was cancelled or deleted. Another process notices when it renews its claim. */
  stop(id: string): void {
    this.running.get(id)?.abort();
  }

  /** Generates a response that this process has claimed. It never rejects. */
  run(claim: ResponseClaim, tell = tellNobody): Promise<void> {
    const tellSafely: Tell = (events) => tell(events).catch(() => undefined);
    return this.track(this.runClaimed(claim, tellSafely));
  }

  private track(work: Promise<void>): Promise<void> {
    this.work.add(work);
    return work.finally(() => this.work.delete(work));
  }

  private async runClaimed(claim: ResponseClaim, tell: Tell): Promise<void> {
    const stop = new AbortController();
    this.running.set(claim.id, stop);
    const timer = setInterval(() => {
      this.claims.renew(claim).then(
        (isOwned) => isOwned || stop.abort(),
        (error: unknown) =>
          log.warn({ err: error, response: claim.id }, 'could not renew the claim on a response'),
      );
    }, this.settings.leaseMs / 3);
    try {
      const row = this.closing ? null : await this.claims.row(claim);
      if (row) await this.generate(claim, row, stop.signal, tell);
    } catch (error) {
      log.warn({ err: error, response: claim.id }, 'a background response was interrupted');
      // Wait, because the cause may persist.
      await new Promise((resolve) => setTimeout(resolve, this.closing ? 0 : 1_000));
    } finally {
      clearInterval(timer);
      this.running.delete(claim.id);
    }
    await this.claims
      .release(claim)
      .catch((error: unknown) =>
        log.warn({ err: error, response: claim.id }, 'could not release a background response'),
      );
    this.scan();
  }

  /** Generates the response and stores it, unless it has to wait or `stop` aborts first. */
  private async generate(
    claim: ResponseClaim,
    row: StoredResponse,
    stop: AbortSignal,
    tell: Tell,
  ): Promise<void> {
    const state = new ResponseState(row.response);
    await tell(state.start());
    let hasStarted = false;
    let ended: EndedResponse;
    try {
      const parsed = requestForItems(parseBody(ResponseBody, row.request), row.input);
      for await (const { piece } of await this.chats.chunks(projectPrincipal(row), parsed, stop)) {
        hasStarted = true;
        if (piece) await tell(state.add(piece));
      }
      if (stop.aborted) return;
      ended = state.end();
    } catch (error) {
      if (stop.aborted) return;
      ended = state.fail(toDomainError(error));
      const fault = faultOf(error, 'relay');
      const mayPass = isDependency(fault) || fault === 'limit';
      const pause = mayPass ? await this.claims.wait(claim, hasStarted) : null;
      if (pause !== null) {
        setTimeout(() => this.scan(), pause).unref();
        // The stream ends with its error, but the response is generated later.
        return tell(ended.events.slice(0, 1));
      }
    }
    if (await this.claims.end(claim, ended.response)) await tell(ended.events);
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

function toDomainError(error: unknown): DomainError {
  if (error instanceof DomainError) return error;
  const outage = toOutageError(error);
  if (outage) return outage;
  log.error({ err: error }, 'a background response failed');
  return new DomainError('internal_error', 'the response was interrupted');
}
