import { expect, it } from 'vitest';
import { Conversion } from './conversion.js';
import type { Row } from './rows.js';

async function convert(rows: readonly Row[], columns: Readonly<Record<string, string>> = {}) {
  async function* numbered() {
    for (const [i, row] of rows.entries()) yield await Promise.resolve({ number: i + 1, row });
  }
  const conversion = new Conversion({ container: 'csv', noun: 'row', columns });
  let text = '';
  for await (const part of conversion.lines(numbered())) text += part.toString();
  return { lines: text.trimEnd().split('\n'), ...conversion.end() };
}

const sentence = (n: number) => `This is what ticket ${n} says.`;
const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
const chat = '[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]';

it('rejects JSON text that is nested too deeply, with its row', async () => {
  for (const [good, bad] of [
    [{ messages: chat }, { messages: deep }],
    [{ messages: chat }, { messages: chat, tools: deep }],
    [{ conversations: chat }, { conversations: deep }],
    [{ conversations: chat }, { conversations: chat, tools: deep }],
    [
      { instruction: 'a', output: 'b' },
      { instruction: 'a', output: 'b', history: deep },
    ],
  ] as Row[][]) {
    const { report, lines } = await convert([good!, bad!]);
    expect(lines).toHaveLength(2);
    expect(report.problems).toEqual([
      expect.stringMatching(/^row 2: ".*" contains invalid JSON: nested more than 16 levels deep/),
    ]);
  }
});

it('shortens column names in the report', async () => {
  const long = 'x'.repeat(500_000);
  const { report } = await convert([
    { text: 'a', [long]: 'b', 'x\u0000\u001f': 'c', '\ud800': 'd' },
  ]);
  const names = Object.keys(report.ignored_fields);
  expect(names).toHaveLength(3);
  expect(names[0]).toMatch(/^x{100}… /);
  expect(names.slice(1)).toEqual(['x\ufffd\ufffd', '\ufffd']);
  expect(JSON.stringify(report).length).toBeLessThan(10_000);
});

it('shortens column names in warnings about unused labels', async () => {
  const row = (n: number) => ({ text: sentence(n), 'x\u0000y': `c${n % 3}` });
  const rows = Array.from({ length: 30 }, (_, n) => row(n));
  const { report } = await convert(rows);
  expect(report.label_warning).toContain('columns[label]=x\ufffdy');
  expect(report.warnings).toContain(report.label_warning);
  expect(JSON.stringify(report)).not.toContain('\\u0000"');
  const { report: named } = await convert(rows, { text: 'text', label: 'x\u0000y' });
  expect(named.columns).toEqual({ text: 'text', label: 'x\ufffdy' });
  expect(named.label_warning).toBeUndefined();
});

it.each<[what: string, row: (n: number) => Row, suggested: object]>([
  [
    'the column with few values is the label',
    (n) => ({ id: `t${n}`, message: sentence(n), category: `c${n % 3}` }),
    { text: 'message', label: 'category' },
  ],
  [
    'a name typical of labels takes precedence',
    (n) => ({ lang: n % 2 ? 'de' : 'en', body: sentence(n), topic: `c${n % 3}` }),
    { text: 'body', label: 'topic' },
  ],
  [
    'two texts are a prompt and its completion',
    (n) => ({ nr: n, frage: sentence(n), antwort: `Answer ${n}` }),
    { prompt: 'frage', completion: 'antwort' },
  ],
  ['one column is a text', (n) => ({ strophe: sentence(n) }), { text: 'strophe' }],
])('suggests which column is what: %s', async (_, row, suggested) => {
  const rows = Array.from({ length: 30 }, (__, n) => row(n));
  await expect(convert(rows)).rejects.toMatchObject({ columns: Object.keys(row(0)), suggested });
});

it('reads only the first rows of a table to suggest its columns', async () => {
  let read = 0;
  async function* rows() {
    for (let n = 1; n < 5000; n++)
      yield await Promise.resolve({ number: (read = n), row: { frage: `${n}?`, antwort: `${n}` } });
  }
  const conversion = new Conversion({ container: 'csv', noun: 'row', columns: {} });
  await expect(conversion.lines(rows()).next()).rejects.toMatchObject({ param: 'columns' });
  expect(read).toBe(1000);
});

it('warns of unused labels in a table whose columns were guessed', async () => {
  const row = (n: number) => ({ question: sentence(n), category: `c${n % 3}`, answer: `A${n}` });
  const { report } = await convert(Array.from({ length: 30 }, (_, n) => row(n)));
  expect(report.warnings.slice(0, 2)).toEqual([
    'Column "question" was read as the prompt, "answer" as the completion.',
    'Column "category" is not used; it has 3 different values. To use it as the label, upload the file with columns[text]=question and columns[label]=category (graft: --map text=question --map label=category).',
  ]);
});
