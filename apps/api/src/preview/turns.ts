/** Limit of waiting work per project. More would only wait until its deadline. */
const MOST_WAITING = 16;

/** Caller that waits for a piece of work. */
export interface WorkCaller {
  readonly project: string;
  /** Aborted when the caller no longer waits: its deadline has passed, or the client has gone. */
  readonly signal: AbortSignal;
}

/** Error for a project that already has the maximum amount of waiting work. */
export class QueueFull extends Error {}

interface Turn {
  readonly key: string;
  readonly project: string;
  readonly answer: Promise<unknown>;
  /** Runs the work. Resolves when it has ended; `answer` has the result or error. */
  readonly begin: () => Promise<void>;
  askers: number;
}

/**
 * Runs one piece of work at a time, from each project in turn. However much one project requests, another
 * waits for at most one piece of each project. Equal requests share one answer, and work that no caller waits
 * for is not started.
 */
export class Turns {
  /** Waiting work per project, in the order of the projects' turns. */
  private readonly lanes = new Map<string, Turn[]>();
  private readonly open = new Map<string, Turn>();
  private busy = false;

  /** @throws the signal's reason if it aborts first; QueueFull */
  async take<T>(key: string, { project, signal }: WorkCaller, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    const turn = this.open.get(key) ?? this.enqueue(key, project, work);
    turn.askers++;
    let leave = (): void => undefined;
    const left = new Promise<never>((_, reject) => {
      leave = () => reject(signal.reason as Error);
    });
    signal.addEventListener('abort', leave, { once: true });
    try {
      return (await Promise.race([turn.answer, left])) as T;
    } finally {
      signal.removeEventListener('abort', leave);
      if (--turn.askers === 0) this.drop(turn);
    }
  }

  private enqueue(key: string, project: string, work: () => Promise<unknown>): Turn {
    const lane = this.lanes.get(project) ?? [];
    if (lane.length >= MOST_WAITING) throw new QueueFull();
    let start = (): void => undefined;
    const answer = new Promise<void>((resolve) => (start = resolve)).then(work);
    const done = answer.then(
      () => undefined,
      () => undefined,
    );
    const begin = (): Promise<void> => {
      start();
      return done;
    };
    const turn: Turn = { key, project, answer, begin, askers: 0 };
    this.open.set(key, turn);
    this.lanes.set(project, [...lane, turn]);
    void this.serve();
    return turn;
  }

  /** Removes work that has not started. Started work continues for the next caller. */
  private drop(turn: Turn): void {
    if (!this.lanes.get(turn.project)?.includes(turn)) return;
    this.removeFromLane(turn);
    this.open.delete(turn.key);
  }

  private async serve(): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    for (let turn = this.next(); turn; turn = this.next()) {
      await turn.begin();
      this.open.delete(turn.key);
      this.moveToEnd(turn.project);
    }
    this.busy = false;
  }

  private next(): Turn | undefined {
    const [lane] = this.lanes.values();
    const turn = lane?.[0];
    if (turn) this.removeFromLane(turn);
    return turn;
  }

  private removeFromLane({ project, key }: Turn): void {
    const rest = this.lanes.get(project)?.filter((turn) => turn.key !== key) ?? [];
    if (rest.length > 0) this.lanes.set(project, rest);
    else this.lanes.delete(project);
  }

  private moveToEnd(project: string): void {
    const lane = this.lanes.get(project);
    if (!lane) return;
    this.lanes.delete(project);
    this.lanes.set(project, lane);
  }
}
