/** Length of a short id. Every command accepts it in place of the id. */
const SHORT = 8;

/** Returns an id without the prefix of its kind, such as "ftjob-" or "eval_". */
const bare = (id: string): string => id.replace(/^[a-z]+[-_]/, '');

/** Returns the short id for a terminal: "ftjob-g2njNIrqVXcP4ELLUjqSjE" becomes "g2njNIrq". */
export const shortId = (id: string): string => bare(id).slice(0, SHORT);

/** Whether a text is the beginning of an id, with or without the prefix of its kind. */
export const begins = (id: string, start: string): boolean =>
  start !== '' && (id.startsWith(start) || bare(id).startsWith(start));

/** Returns a typed id without the ellipsis of a truncated one. */
export const typedStart = (name: string): string => name.replace(/…$/, '');
