// When to save: every `save_steps`, or by time. By time, Young's interval √(2 · T_save · T_fail) for a
// failure each six hours, at most 5 minutes, and never so often that saving takes over 2 % of the time.

const FAILURE_SECONDS = 6 * 3600;
const LONGEST_SECONDS = 300;
const OVERHEAD = 0.02;

export function intervalSeconds(saveSeconds: number): number {
  const young = Math.sqrt(2 * saveSeconds * FAILURE_SECONDS);
  return Math.max(Math.min(LONGEST_SECONDS, young), saveSeconds / OVERHEAD);
}

export class Cadence {
  private savedAt: number;
  /** Guess until the first save is timed. */
  private saveSeconds = 1;

  constructor(
    private readonly saveSteps: number,
    private readonly now: () => number = () => performance.now() / 1000,
  ) {
    this.savedAt = now();
  }

  due(step: number): boolean {
    if (this.saveSteps > 0) return step % this.saveSteps === 0;
    return this.now() - this.savedAt >= intervalSeconds(this.saveSeconds);
  }

  timed<T>(save: () => T): T {
    const started = this.now();
    const result = save();
    this.savedAt = this.now();
    this.saveSeconds = this.savedAt - started;
    return result;
  }
}
