// Words and numbers of the page, as all claims write them.
export const FULL = 'FULL';
export const named = (name) => (name === FULL ? 'full fine-tuning' : name);
export const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
export const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
export const megabytes = (bytes) =>
  bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toPrecision(3)} MB`;
export const times = (ratio) => `${ratio.toFixed(2)} ×`;

export function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** A refusal is a row of its own: nothing is left out in silence. */
export const refusals = (all) => {
  const refused = Object.entries(all).filter(([, found]) => found.refused);
  if (refused.length === 0) return '';
  const said = refused.map(([name, found]) => `- ${named(name)}: ${found.refused}`);
  return `\nNot measured:\n\n${said.join('\n')}\n`;
};
export const accepted = (all) => Object.entries(all).filter(([, found]) => !found.refused);
