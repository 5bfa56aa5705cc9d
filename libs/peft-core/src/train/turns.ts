/**
 * Whose turn it is where several share a process: that of whoever has had least of its time (stride scheduling by
 * measured seconds, everybody of one weight). Who waits for its turn waits for one turn of each of the others at most,
 * and over time all get the same, however long the turns of one are.
 */
export class Turns<T> {
  /** Seconds had; those served longest ago first. */
  private readonly had = new Map<T, number>();

  get members(): T[] {
    return [...this.had.keys()];
  }

  /**
   * Begins where the one stands that has had least: it neither catches up on what was before it nor waits for it.
   * @param seconds what it has had already
   */
  join(one: T, seconds = 0): void {
    this.had.set(one, (this.had.size === 0 ? 0 : Math.min(...this.had.values())) + seconds);
  }

  leave(one: T): void {
    this.had.delete(one);
  }

  next(): T | null {
    let found: T | null = null;
    let least = Infinity;
    for (const [one, seconds] of this.had) if (seconds < least) [found, least] = [one, seconds];
    return found;
  }

  /** It had a turn. One that has left already is nobody's business. */
  charge(one: T, seconds: number): void {
    const before = this.had.get(one);
    if (before === undefined) return;
    this.had.delete(one);
    this.had.set(one, before + seconds);
  }
}
