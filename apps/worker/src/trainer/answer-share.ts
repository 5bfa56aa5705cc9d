/** Maximum credit of model requests in seconds, i.e. the longest time that training pauses for them. */
const MAX_SECONDS = 2;
/** Seconds for requests per second of training while all of them are lines of batches: a tenth of the time. */
const BATCH_RATIO = 1 / 9;

/**
 * Share of a trainer's time for model requests: together as much as for training, regardless of their number and of the
 * length of training turns, or less if all are lines of batches. Time that a long forward pass takes beyond the share is deducted from the next.
 */
export class AnswerShare {
  /** Available seconds; below 0, training comes first. */
  seconds = 0;
  /** Requests in progress that are not lines of batches. */
  private readonly others = new Set<string>();

  begin(id: string, isBatch: boolean): void {
    if (!isBatch) this.others.add(id);
  }

  end(id: string): void {
    this.others.delete(id);
  }

  /** @param waits whether any requests are waiting, for which time can be saved up */
  trained(seconds: number, waits: boolean): void {
    const earned = this.others.size > 0 ? seconds : BATCH_RATIO * seconds;
    this.seconds = Math.min(waits ? MAX_SECONDS : 0, this.seconds + earned);
  }

  answered(seconds: number): void {
    this.seconds -= seconds;
  }
}
