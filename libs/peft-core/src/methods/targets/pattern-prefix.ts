/** Patterns of whole module paths, for models whose paths lack a prefix: transformers' models without a head. */

/** A pattern of whole paths that begin with a prefix, for paths that lack it. */
export function patternWithout(prefix: string, pattern: string): string {
  if (prefix === '') return pattern;
  const escaped = prefix.replace('.', '\\.');
  const held = `${escaped}(?:`;
  if (pattern.startsWith(held) && pattern.endsWith(')')) return pattern.slice(held.length, -1);
  const begins = [escaped, prefix].find((one) => pattern.startsWith(one)) ?? '';
  return pattern.slice(begins.length);
}

/** The other way round. What begins with anything goes with both. */
export const patternWith = (prefix: string, pattern: string): string =>
  prefix === '' || /^(all-linear$|\.\*)/i.test(pattern)
    ? pattern
    : `${prefix.replace('.', '\\.')}(?:${pattern})`;

/** Whether a pattern says where whole paths begin, so that it can be told for paths that lack the prefix. */
export function fitsBoth(prefix: string, pattern: string): boolean {
  if (prefix === '' || /^all-linear$/i.test(pattern)) return true;
  const begins = pattern.startsWith('.*') || patternWithout(prefix, pattern) !== pattern;
  return begins && !hasChoices(pattern);
}

/** Of whole patterns, each with a beginning of its own. */
function hasChoices(pattern: string): boolean {
  const open = pattern.replace(/\\.|\[[^\]]*\]/g, '');
  const outer = open.replace(/\([^()]*\)/g, '');
  return outer === open ? outer.includes('|') : hasChoices(outer);
}
