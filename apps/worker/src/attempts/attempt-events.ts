import { payloadJson, type RunEvent } from '@graft/contracts';
import type { EventFeed } from '../events/event-feed.js';
import type { AttemptKey } from '../protocol/protocol.js';
import type { ReportPhase } from '../trainer-pool/bases.js';

/** A download reports thousands of shares; people read two a second. */
const PHASE_MS = 500;

/** The events of one attempt, numbered from 1. Once closed, nothing more is emitted. */
export class AttemptEvents {
  private sequence = 0;
  private isClosed = false;
  private uploadWaitsFor = '';

  constructor(
    private readonly attempt: AttemptKey,
    private readonly feed: Pick<EventFeed, 'add'>,
  ) {}

  add(event: RunEvent, acknowledged?: () => void): void {
    this.forward(event.kind, payloadJson(event), acknowledged);
  }

  /** Passes a payload on as the trainer wrote it. */
  forward(kind: string, json: string, acknowledged?: () => void): void {
    if (this.isClosed) return;
    const { jobId, attempt } = this.attempt;
    const event = { jobId, attempt, sequence: ++this.sequence, atUnixMs: Date.now(), kind };
    this.feed.add({ ...event, payload: Buffer.from(json) }, acknowledged);
  }

  close(): void {
    this.isClosed = true;
  }

  /** Reports each phase when it begins, and then its progress now and then. */
  phases(): ReportPhase {
    let last = '';
    let reportedAt = 0;
    return (code, message, progress) => {
      const now = performance.now();
      if (message === last && (progress === undefined || now - reportedAt < PHASE_MS)) return;
      last = message;
      reportedAt = now;
      this.add({ kind: 'phase', payload: { code, message, progress: progress ?? null } });
    };
  }

  log(level: 'warn' | 'error', message: string): void {
    this.add({ kind: 'log', payload: { level, message, code: null } });
  }

  /** An upload is refused for now and tried again: logged once, and again only for another reason. */
  uploadWaits(reason: string): void {
    if (reason === this.uploadWaitsFor) return;
    this.uploadWaitsFor = reason;
    this.log('warn', `an upload is waiting: ${reason}`);
  }
}
