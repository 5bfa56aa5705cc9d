import { payloadJson, type RunEvent } from '@graft/contracts';
import type { EventFeed } from '../events/event-feed.js';
import type { AttemptKey } from '../protocol/protocol.js';
import type { ReportPhase } from '../trainer-pool/bases.js';

/** Minimum interval between progress reports of a phase. */
const PHASE_MS = 500;

/** Events of an attempt, numbered from 1. Nothing is emitted after `close`. */
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

  /** Forwards a payload as the trainer wrote it. */
  forward(kind: string, json: string, acknowledged?: () => void): void {
    if (this.isClosed) return;
    const { jobId, attempt } = this.attempt;
    const event = { jobId, attempt, sequence: ++this.sequence, atUnixMs: Date.now(), kind };
    this.feed.add({ ...event, payload: Buffer.from(json) }, acknowledged);
  }

  close(): void {
    this.isClosed = true;
  }

  /** Returns a function that reports each phase when it starts, and then its progress at intervals. */
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

  /** Logs that an upload was rejected and will be retried; once per reason. */
  uploadWaits(reason: string): void {
    if (reason === this.uploadWaitsFor) return;
    this.uploadWaitsFor = reason;
    this.log('warn', `an upload is waiting: ${reason}`);
  }
}
