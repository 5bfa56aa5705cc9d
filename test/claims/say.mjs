// Formatting of names and numbers in the tables.
export const FULL = 'FULL';
export const named = (name) => (name === FULL ? 'full fine-tuning' : name);
export const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
export const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
export const megabytes = (bytes) =>
  bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toPrecision(3)} MB`;
export const times = (ratio) => `${ratio.toFixed(2)} ×`;

/** @returns {string[] | undefined} a note for each method that rejected its job, so that none is silently missing */
export const refusals = (all) => {
  const refused = Object.entries(all).filter(([, found]) => found.refused);
  if (refused.length === 0) return undefined;
  return refused.map(([name, found]) => `Not measured: ${named(name)}. ${found.refused}`);
};
export const accepted = (all) => Object.entries(all).filter(([, found]) => !found.refused);
