/** Maximum credit of model requests in seconds, i.e. the longest time that training pauses for them. */
const MAX_SECONDS = 2;

/**
 * Share of a trainer's time for model requests: together as much as for training, regardless of their number and of the
 * length of training turns. Time that a long forward pass takes beyond the share is deducted from the next.
 */
export class AnswerShare {
  /** Available seconds; below 0, training comes first. */
  seconds = 0;

  /** @param waits whether any requests are waiting, for which time can be saved up */
  trained(seconds: number, waits: boolean): void {
    this.seconds = Math.min(waits ? MAX_SECONDS : 0, this.seconds + seconds);
  }

  answered(seconds: number): void {
    this.seconds -= seconds;
  }
}
