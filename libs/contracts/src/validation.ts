// What a new job holds out for validation unless it says otherwise. Without zod, since the dashboard's
// bundle has it.

/** The share of the training file that is held out by default. */
export const HELD_OUT = 0.1;

/** The default holds for training files of at least so many records. */
export const HELD_OUT_FROM = 50;
