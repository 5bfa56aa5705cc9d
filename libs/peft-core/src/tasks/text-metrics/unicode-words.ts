// Python's words and spaces in regular expressions, which are Unicode's; JavaScript's \b and \s differ.

/** Runs of it: the separators of files, groups, records and units are spaces, too. */
// eslint-disable-next-line no-control-regex
export const SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/gu;

const WORD = '[\\p{L}\\p{N}_]';
const BOUNDARY = `(?:(?<=${WORD})(?!${WORD})|(?<!${WORD})(?=${WORD}))`;

/** A pattern in which \b is the edge of a word in any script; of all that it finds. */
export const wordPattern = (source: string): RegExp =>
  new RegExp(source.replaceAll('\\b', BOUNDARY), 'gu');
