// Decides when to save: every `save_steps`, or by time and at the ends of epochs. By time, Young's interval
// √(2 · T_save · T_fail) with one failure per six hours, at most 5 minutes, and never so often that saving takes more
// than 2 % of the time. Users compare the ends of epochs, so those may take 10 %; but an epoch may have one step.

const FAILURE_SECONDS = 6 * 3600;
const LONGEST_SECONDS = 300;
const OVERHEAD = 0.02;
const EPOCH_OVERHEAD = 0.1;
const EPOCH_STEPS = 10;

export function intervalSeconds(saveSeconds: number): number {
  const young = Math.sqrt(2 * saveSeconds * FAILURE_SECONDS);
  return Math.max(Math.min(LONGEST_SECONDS, young), saveSeconds / OVERHEAD);
}

export class CheckpointSchedule {
  private savedAt: number;
  private saved: number;
  /** Duration of a save in seconds; null before the first one. */
  private saveSeconds: number | null = null;

  /** @param fromStep the step that is saved already, 0 at the start */
  constructor(
    private readonly saveSteps: number,
    fromStep: number,
    private readonly now: () => number = () => performance.now() / 1000,
  ) {
    this.savedAt = now();
    this.saved = fromStep;
  }

  /** The step of the last checkpoint. */
  get savedStep(): number {
    return this.saved;
  }

  due(step: number, epochEnds: boolean): boolean {
    if (this.saveSteps > 0) return step % this.saveSteps === 0;
    const seconds = this.now() - this.savedAt;
    if (seconds >= intervalSeconds(this.saveSeconds ?? 1)) return true;
    if (!epochEnds || step - this.saved < EPOCH_STEPS) return false;
    return seconds >= (this.saveSeconds ?? 0) / EPOCH_OVERHEAD;
  }

  timed<T>(step: number, save: () => T): T {
    const started = this.now();
    const result = save();
    this.savedAt = this.now();
    this.saveSeconds = this.savedAt - started;
    this.saved = step;
    return result;
  }
}
