/** A metric's name is a column of a CSV file, a key in JSON and what a chart is asked for by. */
export const METRIC_NAME = /^[A-Za-z][\w./-]{0,62}$/;
/** Of one step. */
export const MAX_METRICS = 64;
