// Python's Unicode words and spaces for regular expressions. JavaScript's \b and \s differ.

/** Matches runs of white space, including the file, group, record and unit separators. */
// eslint-disable-next-line no-control-regex
export const SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/gu;

const WORD = '[\\p{L}\\p{N}_]';
const BOUNDARY = `(?:(?<=${WORD})(?!${WORD})|(?<!${WORD})(?=${WORD}))`;

/** Compiles a global pattern in which \b is a word boundary in any script. */
export const wordPattern = (source: string): RegExp =>
  new RegExp(source.replaceAll('\\b', BOUNDARY), 'gu');
