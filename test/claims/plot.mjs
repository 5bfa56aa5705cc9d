// SVG plots that work in both of GitHub's themes: no background, and colors of medium lightness.
const INK = '#7d8590';
const COLOURS = ['#2f81f7', '#d29922', '#3fb950', '#db61a2', '#a371f7'];
const FONT = 'font-family="system-ui, sans-serif" font-size="12"';
const WIDTH = 760;

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]); // prettier-ignore
const text = (x, y, content, more = '') => `<text x="${x}" y="${y}" fill="${INK}" ${more}>${escape(content)}</text>`; // prettier-ignore
const svg = (height, title, parts) =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" ${FONT} role="img" aria-label="${escape(title)}">\n${parts.join('\n')}\n</svg>\n`;

/**
 * Horizontal bars. rows: [{ label, value, said, marked }], in this order; `said` is the text of the value.
 */
export function bars({ title, rows }) {
  const [left, right, row, top] = [170, 110, 20, 34];
  const most = Math.max(...rows.map(({ value }) => value), Number.MIN_VALUE);
  const parts = [text(8, 18, title, 'font-weight="600"')];
  rows.forEach(({ label, value, said, marked }, i) => {
    const y = top + i * row;
    const width = Math.max(1, ((WIDTH - left - right) * Math.max(0, value)) / most);
    parts.push(
      text(left - 8, y + 13, label, 'text-anchor="end"'),
      `<rect x="${left}" y="${y + 3}" width="${width.toFixed(1)}" height="${row - 7}" rx="2" fill="${COLOURS[marked ? 1 : 0]}"/>`,
      text(left + width + 6, y + 13, said),
    );
  });
  return svg(top + rows.length * row + 10, title, parts);
}

/**
 * Lines with a band from the lowest to the highest value. x has a base-2 logarithmic scale; series: [{ name,
 * points: [{ x, low, middle, high }] }].
 */
export function lines({ title, xTitle, series, percent = true }) {
  const [left, top, width, height] = [60, 40, WIDTH - 220, 260];
  const points = series.flatMap((each) => each.points);
  const xs = [...new Set(points.map(({ x }) => x))].sort((a, b) => a - b);
  const low = Math.floor(20 * Math.min(...points.map((p) => p.low))) / 20;
  const high = Math.max(low + 0.05, Math.ceil(20 * Math.max(...points.map((p) => p.high))) / 20);
  const span = Math.log2(xs.at(-1) / xs[0]) || 1;
  const X = (x) => (left + (width * Math.log2(x / xs[0])) / span).toFixed(1);
  const Y = (y) => (top + height * (1 - (y - low) / (high - low))).toFixed(1);
  const parts = [text(8, 18, title, 'font-weight="600"')];
  for (let i = 0; i <= 4; i++) {
    const y = low + ((high - low) * i) / 4;
    parts.push(
      `<line x1="${left}" x2="${left + width}" y1="${Y(y)}" y2="${Y(y)}" stroke="${INK}" stroke-opacity="0.25"/>`,
      text(left - 8, Number(Y(y)) + 4, percent ? `${(100 * y).toFixed(0)} %` : y.toFixed(2), 'text-anchor="end"'), // prettier-ignore
    );
  }
  for (const x of xs) parts.push(text(X(x), top + height + 20, x, 'text-anchor="middle"'));
  parts.push(text(left + width / 2, top + height + 40, xTitle, 'text-anchor="middle"'));
  series.forEach(({ name, points: own }, i) => {
    const colour = COLOURS[i % COLOURS.length];
    const path = (all, key) => all.map((p) => `${X(p.x)},${Y(p[key])}`);
    const band = [...path(own, 'high'), ...path([...own].reverse(), 'low')];
    parts.push(
      `<polygon points="${band.join(' ')}" fill="${colour}" fill-opacity="0.18"/>`,
      `<polyline points="${path(own, 'middle').join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      `<rect x="${left + width + 16}" y="${top + 22 * i}" width="12" height="12" rx="2" fill="${colour}"/>`,
      text(left + width + 34, top + 22 * i + 11, name),
    );
  });
  return svg(top + height + 54, title, parts);
}
