/** Credit that answers may save up, in seconds: so long may training stand still for them at most. */
const MOST_SECONDS = 2;

/**
 * The time of a trainer that is its answers': all together as much as training, however many they are and however
 * short its turns. What a long forward takes beyond that is taken from the next.
 */
export class AnswerShare {
  /** Theirs now; below 0, training comes first. */
  seconds = 0;

  /** @param waits whether there are answers that it could be saved up for */
  trained(seconds: number, waits: boolean): void {
    this.seconds = Math.min(waits ? MOST_SECONDS : 0, this.seconds + seconds);
  }

  answered(seconds: number): void {
    this.seconds -= seconds;
  }
}
