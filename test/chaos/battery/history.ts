// What clients asked for and what they were told, in the order of one clock that only goes forward.
import { appendFileSync } from 'node:fs';

/** `info`: nobody told the client, so that it may have happened or not. */
export type Kind = 'invoke' | 'ok' | 'fail' | 'info';

export interface Entry {
  readonly atMs: number;
  readonly kind: Kind;
  /** Of one invocation and what became of it. */
  readonly call: number;
  readonly what: 'create' | 'cancel' | 'pause' | 'resume' | 'chat';
  /** What a creation calls its job by, else the job's id. */
  readonly subject: string;
  readonly job?: string;
  readonly status?: string;
  readonly error?: string;
}

/** A refusal by the service itself: nothing happened. What has none (a reset, a 5xx) is not known. */
export interface Refusal {
  readonly status?: number;
  readonly message: string;
}

export class History {
  readonly entries: Entry[] = [];
  private calls = 0;

  /** @param file NDJSON, an entry a line as it happens */
  constructor(private readonly file: string | null = null) {}

  /** Does it and records how it ended; null where that was not well. */
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
