import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { DomainError, parseBody, type ResponseStreamEvent } from '@graft/contracts';
import { projectPrincipal } from '../../auth/principal.js';
import { ClaimedWork, type Claim } from '../../claims/claimed-work.js';
import { Settings } from '../../config.js';
import { faultOf, isDependency, toOutageError } from '../../faults.js';
import { log } from '../../log.js';
import { ChatService } from '../chat.service.js';
import { requestForItems, ResponseBody } from './response-body.js';
import { ResponseClaims } from './response-claims.js';
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
  private readonly responses: ClaimedWork<Claim>;

  constructor(
    settings: Settings,
    private readonly claims: ResponseClaims,
    private readonly chats: ChatService,
  ) {
    this.responses = new ClaimedWork({
      what: 'background responses',
      most: MOST_RESPONSES,
      leaseMs: settings.leaseMs,
      claims,
      work: (claim, stop) => this.generate(claim, stop, tellNobody),
    });
  }

  /** Begins new responses and those that other processes left unfinished, now and at regular intervals. */
  watch(): void {
    this.responses.watch();
  }

  scan(): void {
    this.responses.scan();
  }

  /** Stops a response that was cancelled or deleted. */
  stop(id: string): void {
    this.responses.stop(id);
  }

  /** Generates a response that this process has claimed. It never rejects. */
  run(claim: Claim, tell: Tell): Promise<void> {
    const tellSafely: Tell = (events) => tell(events).catch(() => undefined);
    return this.responses.run(claim, (one, stop) => this.generate(one, stop, tellSafely));
  }

  onModuleDestroy(): Promise<void> {
    return this.responses.close();
  }

  /** Generates the response and stores it, unless it has to wait or `stop` aborts first. */
  private async generate(claim: Claim, stop: AbortSignal, tell: Tell): Promise<void> {
    const row = await this.claims.row(claim);
    if (!row) return;
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
        this.responses.scan(pause);
        // The stream ends with its error, but the response is generated later.
        return tell(ended.events.slice(0, 1));
      }
    }
    if (await this.claims.end(claim, ended.response)) await tell(ended.events);
  }
}

function toDomainError(error: unknown): DomainError {
  if (error instanceof DomainError) return error;
  const outage = toOutageError(error);
  if (outage) return outage;
  log.error({ err: error }, 'a background response failed');
  return new DomainError('internal_error', 'the response was interrupted');
}
