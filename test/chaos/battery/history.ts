// Requests of the clients and their results, ordered by a monotonic clock.
import { appendFileSync } from 'node:fs';

/**
 * Phase of a call. `info`: the client received no definite response, so the change may or may not have
 * happened.
 */
export type Kind = 'invoke' | 'ok' | 'fail' | 'info';

export interface Entry {
  readonly atMs: number;
  readonly kind: Kind;
  /** Number of the invocation. The result has the same number. */
  readonly call: number;
  readonly what: 'create' | 'cancel' | 'pause' | 'resume' | 'chat';
  /** Token of a creation; otherwise the job's id. */
  readonly subject: string;
  readonly job?: string;
  readonly status?: string;
  readonly error?: string;
}

/**
 * Error of a request. With a 4xx status, nothing happened; otherwise (a reset, a 5xx) the outcome is unknown.
 */
export interface Refusal {
  readonly status?: number;
  readonly message: string;
}

export class History {
  readonly entries: Entry[] = [];
  private calls = 0;

  /** @param file NDJSON file to which each entry is appended when it happens */
  constructor(private readonly file: string | null = null) {}

  /** Runs `work` and records its result. Returns null if it failed. */
  async call<Answer extends { id?: string; status?: string }>(
    what: Entry['what'],
    subject: string,
    work: () => Promise<Answer>,
  ): Promise<Answer | null> {
    const call = this.calls++;
    this.add({ kind: 'invoke', call, what, subject });
    try {
      const answer = await work();
      const { id, status } = answer;
      this.add({
        kind: 'ok',
        call,
        what,
        subject,
        ...(id === undefined ? {} : { job: id }),
        ...(status === undefined ? {} : { status }),
      });
      return answer;
    } catch (error) {
      const { status, message } = error as Refusal;
      const isRefused = status !== undefined && status >= 400 && status < 500;
      this.add({ kind: isRefused ? 'fail' : 'info', call, what, subject, error: message });
      return null;
    }
  }

  private add(entry: Omit<Entry, 'atMs'>): void {
    const whole = { atMs: performance.now(), ...entry };
    this.entries.push(whole);
    if (this.file) appendFileSync(this.file, `${JSON.stringify(whole)}\n`);
  }
}
