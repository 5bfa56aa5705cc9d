/** Pattern of a metric's name, which is used as a CSV column, a JSON key and a chart parameter. */
export const METRIC_NAME = /^[A-Za-z][\w./-]{0,62}$/;
/** Maximum number of metrics per step. */
export const MAX_METRICS = 64;
