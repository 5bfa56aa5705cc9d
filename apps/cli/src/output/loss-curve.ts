import { fittedWeight, smoothed } from '@graft/contracts/smoothed';
import { sparkline } from './sparkline.js';

/** Moving average of a curve of losses, as the dashboard draws it. */
export const averaged = (losses: readonly (number | null)[]): (number | null)[] =>
  smoothed(losses, fittedWeight(losses.length));

/** Training losses of a job by step. */
export class LossCurve {
  private steps: number[] = [];
  private losses: number[] = [];

  /** Adds a loss. A run that resumes from a checkpoint repeats steps, which replace those from before. */
  add(step: number, loss: number): void {
    while ((this.steps.at(-1) ?? -1) >= step) {
      this.steps.pop();
      this.losses.pop();
    }
    this.steps.push(step);
    this.losses.push(loss);
  }

  /** Moving average at the last step. Null without losses. */
  get average(): number | null {
    return averaged(this.losses).at(-1) ?? null;
  }

  /** Sparkline of the moving average. Empty without two losses. */
  sparkline(width: number): string {
    return sparkline(averaged(this.losses), width);
  }
}
