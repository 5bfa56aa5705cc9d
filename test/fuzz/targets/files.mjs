// Training data in every format, and the multipart bodies that contain it.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { csvRows } from '../../../apps/api/dist/files/rows/csv-rows.js';
import { LineCheck } from '../../../apps/api/dist/files/rows/line-check.js';
import { tableRows } from '../../../apps/api/dist/files/rows/table-rows.js';
import { receiveTrainingData } from '../../../apps/api/dist/files/training-data.js';
import { readUpload } from '../../../apps/api/dist/files/upload.js';
import { bytes, cut, json } from '../mutate.mjs';

const folder = mkdtempSync(join(tmpdir(), 'graft-fuzz-files-'));
export const end = () => rmSync(folder, { recursive: true });

const records = [
  { prompt: 'Hello', completion: ' world' },
  { text: 'once upon a time' },
  { messages: [{ role: 'system', content: 's' }, { role: 'user', content: 'q' }, { role: 'assistant', content: 'a', weight: 1 }] },
  { prompt: 'p', chosen: 'c', rejected: 'r' },
  { input: { messages: [{ role: 'user', content: 'q' }] }, preferred_output: [{ role: 'assistant', content: 'a' }],
    non_preferred_output: [{ role: 'assistant', content: 'b' }] },
]; // prettier-ignore
const foreign = [
  { instruction: 'Do', input: '', output: 'done' },
  { question: 'q', answer: 'a' },
  { conversations: [{ from: 'human', value: 'q' }, { from: 'gpt', value: 'a' }] },
]; // prettier-ignore
const lines = (rows) => `${rows.map((row) => JSON.stringify(row)).join('\n')}\n`;
const tables = [
  'prompt,completion\nHello," world"\n"a ""b""","c\nd"\n',
  'prompt;completion\r\na;b\r\n;\r\n',
  'text\tid\none\t1\n',
  '\ufeffinstruction,input,output\nDo,,done\n',
];

const recordOf = json(records, {
  keys: ['prompt', 'completion', 'text', 'messages', 'role', 'content'],
});
const linesOf = (r) => {
  const rows = Array.from({ length: 1 + r.int(3) }, () => recordOf(r));
  return Buffer.concat(
    rows.flatMap((row) => [row, Buffer.from(r.pick(['\n', '\n', '\r\n', '\n\n']))]),
  );
};
const foreignOf = json([foreign, records], { keys: ['prompt', 'question', 'conversations'] });
const csvOf = bytes(tables, [
  '"',
  '""',
  ',',
  ';',
  '\t',
  '\n',
  '\r',
  '"\n',
  'prompt',
  'completion',
  '\ufeff',
]);
const wholeOf = bytes([lines(records), lines(foreign), JSON.stringify(foreign), ...tables], [
  'PAR1', 'PK\x03\x04', '\x1f\x8b', '\xff\xfe', '%PDF', '[', '{', '{\n',
]); // prettier-ignore

/** Problems of a file must name their line. */
function named({ report, details }) {
  const { problems } = report;
  const nowhere = problems.find(
    (problem) =>
      !/^(and \d+ more|(lines?|rows?|elements?) \d|the file contains no records)/.test(problem),
  );
  if (nowhere !== undefined) throw new TypeError(`a problem without a place: ${nowhere}`);
  if (!JSON.stringify(report).isWellFormed() || !(details ?? '').isWellFormed())
    throw new TypeError('a report with an unpaired surrogate');
  return problems.length > 0;
}

/** Only the arrival of bytes matters here, not their storage. */
const blobs = {
  async receive(source, { inspect = () => undefined } = {}) {
    for await (const chunk of source) inspect(chunk);
    return {};
  },
};
const gone = new AbortController().signal;

const rowsOf = async (source) => {
  const rows = [];
  for await (const row of source) rows.push(row);
  return rows;
};

const boundary = 'X-BOUND';
const part = (head, content) =>
  `--${boundary}\r\nContent-Disposition: form-data; ${head}\r\n\r\n${content}\r\n`;
const uploads = [
  part('name="purpose"', 'fine-tune') + part('name="file"; filename="a.jsonl"', lines(records)) + `--${boundary}--\r\n`,
  part('name="file"; filename="naïve.csv"\r\nContent-Type: text/csv', tables[0]) + part('name="purpose"', 'fine-tune') + `--${boundary}--\r\n`,
  part('name="columns[prompt]"', 'q') + part(`name="file"; filename*=UTF-8''a%20b.csv`, tables[1]) + `--${boundary}--`,
]; // prettier-ignore
const uploadOf = bytes(uploads, [`--${boundary}`, `--${boundary}--`, '\r\n', '\r\n\r\n', 'name="file"', 'name="__proto__"',
  'name=""', 'filename="../../x"', "filename*=UTF-8''%ff", 'Content-Type: ', '; charset=utf-16', 'Content-Transfer-Encoding: base64']); // prettier-ignore
const types = [
  `multipart/form-data; boundary=${boundary}`,
  `multipart/form-data; boundary="${boundary}"`,
];
const typeOf = bytes(
  [...types, 'application/json'],
  ['boundary', '=', ';', '"', '--', 'multipart/mixed'],
);

export const targets = [
  {
    name: 'training lines (JSONL)',
    make: linesOf,
    // It reports rejections in its result, and never throws.
    refusal: (error) => `threw ${error?.stack}`,
    refused: named,
    run: (input, r) => {
      const check = new LineCheck();
      for (const chunk of cut(r, input)) check.push(chunk);
      return check.end();
    },
  },
  {
    name: 'training file (any format)',
    make: (r) => [
      r.pick([linesOf, foreignOf, csvOf, wholeOf])(r),
      r.pick(['a.csv', 'a.tsv', 'a.jsonl', 'a.json', 'file', '']),
    ],
    refused: ({ checked }) => named(checked),
    run: ([input, filename], r) => {
      if (input.subarray(0, 4).toString('latin1') === 'PAR1') input[0]++;
      const columns = r.pick([
        {},
        {},
        {},
        { prompt: 'question', completion: 'answer' },
        { text: 'text' },
      ]);
      return receiveTrainingData(blobs, Readable.from(cut(r, input)), filename, columns, {
        uploader: 'fuzz',
        gone,
      });
    },
  },
  {
    name: 'CSV rows',
    make: csvOf,
    refused: (rows) => rows.some(({ row }) => row === null),
    run: (input, r) => rowsOf(csvRows(Readable.from(cut(r, input)), r.pick([',', ';', '\t']))),
  },
  {
    name: 'Parquet rows',
    // each input needs a process
    share: 1 / 250,
    make: bytes(
      readdirSync(new URL('../../../apps/api/test/parquet/', import.meta.url))
        .filter((name) => name.endsWith('.parquet'))
        .map((name) =>
          readFileSync(new URL(`../../../apps/api/test/parquet/${name}`, import.meta.url)),
        ),
      ['PAR1'],
    ),
    refused: (rows) => rows.some(({ row }) => row === null),
    run: (input) => {
      const path = join(folder, 'rows.parquet');
      writeFileSync(path, input);
      return rowsOf(tableRows('parquet', path, { uploader: 'fuzz', gone }, 30_000));
    },
  },
  {
    name: 'Arrow rows',
    share: 1 / 250,
    make: bytes(
      [readFileSync(new URL('../../../apps/api/test/datasets/plain.arrow', import.meta.url))],
      ['ARROW1'],
    ),
    refused: (rows) => rows.some(({ row }) => row === null),
    run: (input) => {
      const path = join(folder, 'rows.arrow');
      writeFileSync(path, input);
      return rowsOf(tableRows('arrow', path, { uploader: 'fuzz', gone }, 30_000));
    },
  },
  {
    name: 'multipart upload',
    make: (r) => [uploadOf(r), r.chance(0.9) ? r.pick(types) : typeOf(r).toString('latin1')],
    run: async ([input, type], r) => {
      const request = Object.assign(Readable.from(cut(r, input)), {
        headers: { 'content-type': type },
      });
      const store = async (content) => Buffer.concat(await rowsOf(content));
      return readUpload(request, store);
    },
  },
];
