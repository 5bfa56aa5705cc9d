// Measures of Markdown prose: how long its sentences and the cells of its tables are.

/** The space between two sentences. */
const SENTENCE_END = /(?<=[.!?][)"*]*)\s+/;

const words = (text) => text.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)).length;

/** Removes what is not prose: code blocks, comments, HTML; a link counts as its text, a code span as one word. */
const proseOf = (markdown) =>
  markdown
    .replace(/^(```|~~~)[\s\S]*?^\1\s*$/gm, '\n')
    .replace(/<!--[\s\S]*?-->/g, '')
    .replace(/<[^>\n]+>/g, '')
    .replace(/`[^`\n]*`/g, '`x`')
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1');

/**
 * @param {string} markdown a page
 * @returns {{ median: number, longestCell: number, cell: string, text: string }} the median length of its sentences and
 *   the longest cell of its tables, in words; that cell; and its prose
 */
export function measure(markdown) {
  const lines = proseOf(markdown).split('\n');
  const isRow = (line) => /^\s*\|/.test(line);
  const cells = lines
    .filter(isRow)
    .flatMap((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim()));
  const cell = cells.reduce((longest, one) => (words(one) > words(longest) ? one : longest), '');
  const paragraphs = lines
    .map((line) => (isRow(line) || /^#/.test(line) ? '' : line))
    .map((line) => line.replace(/^\s*([-*]|\d+\.)\s+/, '\n'))
    .join('\n')
    .split(/\n\s*\n/);
  const lengths = paragraphs
    .flatMap((paragraph) => paragraph.replace(/\s+/g, ' ').split(SENTENCE_END))
    .map(words)
    .filter((length) => length > 2)
    .sort((a, b) => a - b);
  return {
    median: lengths[Math.floor(lengths.length / 2)] ?? 0,
    longestCell: words(cell),
    cell,
    text: lines.join('\n'),
  };
}
