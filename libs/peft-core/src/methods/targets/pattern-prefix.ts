/** Patterns of whole module paths for models whose paths have no prefix: transformers' models without a head. */

/** Converts a pattern of whole paths with a prefix to one for paths without it. */
export function patternWithout(prefix: string, pattern: string): string {
  if (prefix === '') return pattern;
  const escaped = prefix.replace('.', '\\.');
  const held = `${escaped}(?:`;
  if (pattern.startsWith(held) && pattern.endsWith(')')) return pattern.slice(held.length, -1);
  const begins = [escaped, prefix].find((one) => pattern.startsWith(one)) ?? '';
  return pattern.slice(begins.length);
}

/**
 * Converts a pattern of whole paths without a prefix to one for paths with it. A pattern that starts with a wildcard
 * fits both.
 */
export const patternWith = (prefix: string, pattern: string): string =>
  prefix === '' || /^(all-linear$|\.\*)/i.test(pattern)
    ? pattern
    : `${prefix.replace('.', '\\.')}(?:${pattern})`;

/** Whether the start of a pattern allows conversion between paths with and without the prefix. */
export function fitsBoth(prefix: string, pattern: string): boolean {
  if (prefix === '' || /^all-linear$/i.test(pattern)) return true;
  const begins = pattern.startsWith('.*') || patternWithout(prefix, pattern) !== pattern;
  return begins && !hasChoices(pattern);
}

/** Whether a pattern has alternatives at its top level, each with its own start. */
function hasChoices(pattern: string): boolean {
  const open = pattern.replace(/\\.|\[[^\]]*\]/g, '');
  const outer = open.replace(/\([^()]*\)/g, '');
  return outer === open ? outer.includes('|') : hasChoices(outer);
}
