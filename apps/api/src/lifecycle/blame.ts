/**
 * Number of trainer deaths without a new checkpoint in between, after which a job that may have caused them
 * runs alone.
 */
const ALONE_AFTER = 2;

/** Whether the job gets its own trainer process. */
export const runsAlone = ({ present_at_deaths: deaths }: { present_at_deaths: number }): boolean =>
  deaths >= ALONE_AFTER;
