/**
 * Decides whose turn it is in a shared process: the one that has used the least time (stride scheduling by
 * measured seconds, with equal weights). Each waits for at most one turn of each of the others, and over time
 * all get the same share, regardless of the length of single turns.
 */
export class Turns<T> {
  /** Seconds used; the least recently served come first. */
  private readonly had = new Map<T, number>();

  get members(): T[] {
    return [...this.had.keys()];
  }

  /**
   * Starts with the least time that any other has used, so that it neither catches up on earlier time nor waits for it.
   * @param seconds time that it has used already
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

  /** Charges a turn. Has no effect on one that has left. */
  charge(one: T, seconds: number): void {
    const before = this.had.get(one);
    if (before === undefined) return;
    this.had.delete(one);
    this.had.set(one, before + seconds);
  }
}
