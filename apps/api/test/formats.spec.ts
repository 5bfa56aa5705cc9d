// Training data in common formats: converted to JSON Lines of records, or rejected with advice.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { ErrorBody, FileObject } from '@graft/contracts';
import { downloadZip } from 'client-zip';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { unzip } from '../../../test/unzip.js';
import { deflatedZip } from './deflated-zip.js';
import { chats, importBase, startTestApi, until, type TestApi } from './fixture.js';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api?.close());
afterEach(() => expect(readdirSync(join(api.home, 'blobs', 'incoming'))).toEqual([]));

type Fields = Readonly<Record<string, string>>;

async function send(content: string | Buffer | ArrayBuffer, name: string, fields: Fields = {}) {
  const form = new FormData();
  for (const [field, value] of Object.entries({ purpose: 'fine-tune', ...fields }))
    form.append(field, value);
  form.append('file', new Blob([content as Uint8Array<ArrayBuffer>]), name);
  const answer = await fetch(`${api.url}/v1/files`, {
    method: 'POST',
    headers: api.headers,
    body: form,
  });
  return { status: answer.status, body: await answer.json() };
}

async function upload(
  ...what: Parameters<typeof send>
): Promise<FileObject & { lines: unknown[] }> {
  const { status, body } = await send(...what);
  expect([status, body.error?.message]).toEqual([200, undefined]);
  const content = await (await api.client.files.content(body.id)).text();
  expect(Buffer.byteLength(content)).toBe(body.bytes);
  const lines = content
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
  return { ...(body as FileObject), lines };
}

async function refused(...what: Parameters<typeof send>): Promise<ErrorBody['error']> {
  const { status, body } = await send(...what);
  expect(status).toBe(400);
  return (body as ErrorBody).error;
}

const rows = 12;
const numbers = Array.from({ length: rows }, (_, n) => n);
const pair = (n: number) => ({ prompt: `${n} + 1?`, completion: `${n + 1}` });
const chat = (n: number) => ({
  messages: [
    { role: 'user', content: `${n} + 1?` },
    { role: 'assistant', content: `${n + 1}` },
  ],
});
const shareGpt = (n: number) => ({
  id: `c${n}`,
  conversations: [
    { from: 'human', value: `${n} + 1?` },
    { from: 'gpt', value: `${n + 1}` },
  ],
});

describe('a JSON array', () => {
  it('is read element by element, whatever its whitespace', async () => {
    const values = numbers.map((n) => ({ messages: [...chat(n).messages] }));
    values[3]!.messages[0]!.content = 'brackets ]}, quotes " and \\ in "strings"; [ü] \n 🙂';
    for (const text of [JSON.stringify(values), `\ufeff \n${JSON.stringify(values, null, 2)}\n`]) {
      const file = await upload(text, 'list.json');
      expect(file.lines).toEqual(values);
      expect(file.graft).toMatchObject({ records: rows, converted_from: 'json', warnings: [] });
      expect(file).toMatchObject({ status: 'processed', filename: 'list.json' });
    }
  });

  it('of 30,000 conversations is streamed', async () => {
    const many = Array.from({ length: 30_000 }, (_, n) => shareGpt(n));
    const file = await upload(JSON.stringify(many), 'sharegpt.json');
    expect(file.lines).toHaveLength(30_000);
    expect(file.lines[29_999]).toEqual(chat(29_999));
    expect(file.graft).toMatchObject({
      converted_from: 'sharegpt',
      ignored_fields: { id: 30_000 },
      warnings: ['Training ignores the field "id", which 30,000 records have.'],
    });
  });

  it('is rejected with its element numbers, and as a whole if it is invalid JSON', async () => {
    const file = await upload('[{"text":"a"}, {"text":5}, 7, {"text":6}, {"text":"b"},]', 'a.json');
    expect(file.status).toBe('error');
    expect(file.graft?.problems).toEqual([
      'elements 2, 4: "text" must be a string',
      'element 3: expected a JSON object, got 7',
      'element 6: the line is empty',
    ]);
    expect((await refused('[{"text":"a"}, {"text":"b"', 'a.json')).message).toBe(
      'the array is truncated in element 2',
    );
    expect((await refused('[{"text":"a"}] [', 'a.json')).message).toMatch(
      /after the end of the array/,
    );
    expect((await refused('{\n  "text": "a"\n}\n', 'a.json')).message).toMatch(
      /^this is JSON over several lines/,
    );
  });
});

describe('JSON Lines in other formats', () => {
  it('are read as ShareGPT, Alpaca, or by column names', async () => {
    const jsonl = (make: (n: number) => unknown) =>
      numbers.map((n) => `${JSON.stringify(make(n))}\n`).join('\n');
    const sharegpt = await upload(jsonl(shareGpt), 'a.jsonl');
    expect(sharegpt.lines).toEqual(numbers.map(chat));
    expect(sharegpt.graft?.converted_from).toBe('sharegpt');
    const alpaca = await upload(
      jsonl((n) => ({ instruction: `${n} + 1?`, input: '', output: `${n + 1}` })),
      'a.jsonl',
    );
    expect(alpaca.lines).toEqual(numbers.map(chat));
    expect(alpaca.graft?.converted_from).toBe('alpaca');
    const dolly = await upload(
      jsonl((n) => ({ instruction: `${n} + 1?`, context: '', response: `${n + 1}` })),
      'a.jsonl',
    );
    expect(dolly.lines).toEqual(numbers.map(chat));
    const named = await upload(
      jsonl((n) => ({ question: pair(n).prompt, answer: pair(n).completion })),
      'a.jsonl',
    );
    expect(named.lines).toEqual(numbers.map(pair));
    expect(named.graft).toMatchObject({
      converted_from: 'json',
      warnings: ['Column "question" was read as the prompt, "answer" as the completion.'],
    });
  });

  it("with Graft's records remain unchanged, byte for byte", async () => {
    const text = `\ufeff${chats(12)}\r\n`;
    const { id, graft } = (await send(text, 'a.csv')).body as FileObject;
    expect(graft).toMatchObject({ records: 12, problems: [], converted_from: null });
    expect(Buffer.from(await (await api.client.files.content(id)).arrayBuffer())).toEqual(
      Buffer.from(text),
    );
  });
});

describe('a table', () => {
  it('in CSV is read with its quotes, line breaks and columns', async () => {
    const csv =
      '\ufeff"prompt",completion,id\r\n"a ""b"",\nc",d,1\r\n\r\n' +
      numbers.map((n) => `${n} + 1?,${n + 1},${n}\r\n`).join('');
    const file = await upload(csv, 'table.csv');
    expect(file.lines).toEqual([{ prompt: 'a "b",\nc', completion: 'd' }, ...numbers.map(pair)]);
    expect(file).toMatchObject({ filename: 'table.csv', status: 'processed' });
    expect(file.graft).toMatchObject({
      converted_from: 'csv',
      formats: { prompt_completion: 13 },
      ignored_fields: { id: 13 },
    });
    await importBase(api, 'tiny');
    const job = await api.post<{ status: string }>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: file.id,
      graft: { pool: 'unserved' },
    });
    expect(job.status).toBe('queued');
  });

  it('may be separated by tabs or semicolons, and have another extension', async () => {
    for (const sign of ['\t', ';']) {
      const text = `question${sign}answer\n${numbers.map((n) => `${n} + 1?${sign}${n + 1}\n`).join('')}`;
      expect((await upload(text, 'data.txt')).lines).toEqual(numbers.map(pair));
    }
  });

  it('reports the row numbers of problems as a spreadsheet shows them', async () => {
    const file = await upload('prompt,completion\na,b\nc,\n\nd\n,e\nf,\n', 'a.csv');
    expect(file.status).toBe('error');
    expect(file.graft?.problems).toEqual([
      'rows 3, 7: "completion" is empty: there is nothing to learn',
      'row 5: the header has 2 columns, this row has 1',
    ]);
    const message = async (text: string | Buffer) => (await refused(text, 'a.csv')).message;
    expect(await message('prompt,completion\na,b\nc,"d\n')).toBe(
      'row 3: a quoted field is never closed',
    );
    expect(await message('prompt,completion\na,b"c" d"\n"a"b,c\n')).toMatch(
      /row \d: a quotation mark/,
    );
    expect(await message('prompt,prompt\na,b\n')).toBe(
      'the header names the column "prompt" twice',
    );
    expect(await message(Buffer.from('prompt,completion\na,caf\xe9\n', 'latin1'))).toMatch(
      /not valid UTF-8; save it as UTF-8/,
    );
    const { body } = await send('prompt,completion\n', 'a.csv');
    expect((body as FileObject).status_details).toBe('the file contains no records');
  });

  it('with unknown columns is rejected with their names, and accepted with a column mapping', async () => {
    const csv = `frage,antwort,quelle\n${numbers.map((n) => `${n} + 1?,${n + 1},x\n`).join('')}`;
    expect(await refused(csv, 'a.csv')).toEqual({
      message:
        'the meaning of the columns is unclear; the columns are "frage", "antwort", "quelle". Select those for one format of training data, such as columns[prompt]=frage and columns[completion]=antwort',
      type: 'invalid_request_error',
      param: 'columns',
      code: 'invalid_training_file',
      columns: ['frage', 'antwort', 'quelle'],
      suggested_columns: { prompt: 'frage', completion: 'antwort' },
    });
    const columns = { 'columns[prompt]': 'frage', 'columns[completion]': 'antwort' };
    expect((await upload(csv, 'a.csv', columns)).lines).toEqual(numbers.map(pair));
    expect(
      await refused(csv, 'a.csv', { 'columns[prompt]': 'frage', 'columns[completion]': 'x' }),
    ).toMatchObject({
      param: 'columns.completion',
      message: 'no column "x"; columns: "frage", "antwort", "quelle"',
    });
    expect(await refused(csv, 'a.csv', { 'columns[title]': 'frage' })).toMatchObject({
      param: 'columns',
      message: expect.stringMatching(/^no form .* the fields "title"; .* text and label;/),
    });
    const jsonl = numbers
      .map((n) => JSON.stringify({ frage: `${n} + 1?`, antwort: `${n + 1}` }))
      .join('\n');
    expect((await refused(jsonl, 'a.jsonl')).columns).toEqual(['frage', 'antwort']);
    expect((await upload(jsonl, 'a.jsonl', columns)).lines).toEqual(numbers.map(pair));
  });

  it('with a column mapping can hold records of any format', async () => {
    const csv = `message,category\n${numbers.map((n) => `is ${n} odd?,${n % 2}\n`).join('')}`;
    const columns = { 'columns[text]': 'message', 'columns[label]': 'category' };
    const { message, suggested_columns: suggested } = await refused(csv, 'a.csv');
    expect(message).toMatch(/such as columns\[text\]=message and columns\[label\]=category$/);
    expect(suggested).toEqual({ text: 'message', label: 'category' });
    const { graft, lines } = await upload(csv, 'a.csv', columns);
    expect(lines[0]).toEqual({ text: 'is 0 odd?', label: '0' });
    expect(graft?.formats).toEqual({ classification: numbers.length });
    const pairs = { 'columns[anchor]': 'message', 'columns[positive]': 'category' };
    expect((await upload(csv, 'a.csv', pairs)).lines[0]).toEqual({
      anchor: 'is 0 odd?',
      positive: '0',
    });
  });

  it('parses lists, booleans and texts in cells by the type of the field', async () => {
    const cell = (value: string) => `"${value.replaceAll('"', '""')}"`;
    const tagged = `words,marks\n${numbers.map((n) => `${cell(`["${n}","odd"]`)},${cell('["B","O"]')}\n`).join('')}`;
    const fields = { 'columns[tokens]': 'words', 'columns[tags]': 'marks' };
    const words = await upload(tagged, 'a.csv', fields);
    expect(words.lines[1]).toEqual({ tokens: ['1', 'odd'], tags: ['B', 'O'] });
    expect(words.graft).toMatchObject({ problems: [], formats: { tagged_words: rows } });
    const judged = `prompt,completion,label\n${numbers.map((n) => `${n}?,a,${n % 2}\n`).join('')}`;
    const { graft, lines } = await upload(judged, 'a.csv');
    expect(lines[1]).toEqual({ prompt: '1?', completion: 'a', label: true });
    expect(graft).toMatchObject({ problems: [], formats: { judged_completion: rows } });
    const json = `anchor,positive\n${numbers.map((n) => `${cell(`{"n":${n}}`)},${n}\n`).join('')}`;
    const pairs = await upload(json, 'a.csv');
    expect(pairs.lines[1]).toEqual({ anchor: '{"n":1}', positive: '1' });
    expect(pairs.graft).toMatchObject({ problems: [], formats: { pair: rows } });
  });

  it('with a text column and a possible label column warns that only the texts were read', async () => {
    const csv = `text,category,id\n${numbers.map((n) => `is ${n} odd?,${n % 2},${n}\n`).join('')}`;
    const { graft } = await upload(csv, 'a.csv');
    expect(graft?.warnings.join('\n')).toMatch(
      /^Only column "text" was read, .* "category" has 2 different values\. .* --map text=text --map label=category/m,
    );
    const plain = `text,id\n${numbers.map((n) => `is ${n} odd?,${n}\n`).join('')}`;
    const other = await upload(plain, 'a.csv');
    expect(other.graft?.warnings.join('\n')).not.toContain('different values');
  });
});

describe('Parquet', () => {
  const flat = (codec: 'SNAPPY' | 'UNCOMPRESSED', count: number) => {
    const all = Array.from({ length: count }, (_, n) => pair(n));
    return parquetWriteBuffer({
      codec,
      rowGroupSize: 500,
      columnData: [
        { name: 'question', data: all.map((row) => row.prompt), type: 'STRING' },
        { name: 'answer', data: all.map((row) => row.completion), type: 'STRING' },
        { name: 'n', data: all.map((_, n) => BigInt(n)), type: 'INT64' },
      ],
    });
  };

  it('is read row group by row group', async () => {
    for (const codec of ['SNAPPY', 'UNCOMPRESSED'] as const) {
      const file = await upload(flat(codec, 1700), 'train.parquet');
      expect(file.lines).toEqual(Array.from({ length: 1700 }, (_, n) => pair(n)));
      expect(file.graft).toMatchObject({
        converted_from: 'parquet',
        records: 1700,
        ignored_fields: { n: 1700 },
      });
    }
  });

  it('that is damaged is rejected, and the API continues', async () => {
    const good = Buffer.from(flat('SNAPPY', 600));
    const cut = await refused(good.subarray(0, good.length - 400), 'train.parquet');
    expect(cut.message).toMatch(/^the Parquet file cannot be read: /);
    const wrong = Buffer.from(good);
    wrong.fill(0xff, 40, 400);
    expect((await refused(wrong, 'train.parquet')).message).toMatch(
      /^the Parquet file cannot be read: /,
    );
    expect((await fetch(`${api.url}/healthz`)).status).toBe(200);
  });
});

describe('files of pandas, pyarrow and datasets', () => {
  const file = (name: string) => readFileSync(join(import.meta.dirname, 'datasets', name));
  const frame = numbers.map((n) => ({ prompt: `${n} + 1?`, completion: `${n + 1}` }));

  it.each([
    ['pandas.csv', 'csv', frame],
    ['pandas.parquet', 'parquet', frame],
    ['plain.arrow', 'arrow', frame],
    // a frame with one row filtered out, and with its index
    ['pandas.zip', 'arrow', frame.filter(({ completion }) => completion !== '3')],
    ['two-shards.zip', 'arrow', numbers.map(chat)],
    ['one-split.zip', 'arrow', numbers.map(chat)],
  ] as const)('are read: %s', async (name, from, lines) => {
    const made = await upload(file(name), name);
    expect(made.lines).toEqual(lines);
    expect(made.graft).toMatchObject({ records: lines.length, problems: [], converted_from: from });
  });

  it.each(['pictures.zip', 'pictures.parquet'])(
    'contain images and label names: %s',
    async (name) => {
      const { graft, lines } = await upload(file(name), name);
      expect(graft).toMatchObject({ problems: [], duplicates: 8, labels: { even: 6, odd: 6 } });
      const records = lines as { image: string; label: string }[];
      expect(records.map(({ label }) => label)).toEqual(numbers.map((n) => ['even', 'odd'][n % 2]));
      // 4 × 4 black pixels as Pillow encodes them
      expect(records[0]?.image).toBe(
        'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAIAAAAmkwkpAAAADElEQVR4nGNgIB0AAAA0AAF2Xq7DAAAAAElFTkSuQmCC',
      );
      expect(new Set(records.map(({ image }) => image)).size).toBe(4);
    },
  );

  it('are rejected with advice if they are of another kind', async () => {
    const message = async (content: Buffer) => (await refused(content, 'data')).message;
    const zip = async (files: Readonly<Record<string, string>>) =>
      Buffer.from(
        await downloadZip(
          Object.entries(files).map(([name, input]) => ({ name, input })),
        ).arrayBuffer(),
      );
    const shard = await unzip(file('pandas.zip'));
    const data = shard.get('pandas/data-00000-of-00001.arrow')!;
    expect(await message(file('zstd.arrow'))).toBe(
      'the Arrow file cannot be read: it is compressed; write it without compression, as save_to_disk does',
    );
    expect(await message(data.subarray(0, 900))).toMatch(/^the Arrow file cannot be read: /);
    expect(await message(file('splits.zip'))).toBe(
      'the folder has several splits (test, train); upload the folder of one split',
    );
    expect(await message(await zip({ 'a.txt': 'a' }))).toMatch(/no state\.json .*; unpack it/);
    expect(await message(await zip({ '[Content_Types].xml': '' }))).toBe(
      'this is an Excel workbook; save the table as CSV',
    );
    const state = (more: object) => zip({ 'd/state.json': JSON.stringify(more) });
    expect(await message(await state({}))).toBe('state.json lists no data files');
    expect(await message(await state({ _data_files: [{ filename: 'x' }] }))).toBe(
      'state.json lists x, which is not in the archive',
    );
    expect(await message(await state({ _indices_data_files: [{ filename: 'x' }] }))).toMatch(
      /flatten_indices/,
    );
    expect(await message(await zip({ 'state.json': '{' }))).toBe('state.json is not JSON');
    expect(await message(file('pandas.zip').subarray(0, 600))).toMatch(
      /^the ZIP archive cannot be read: /,
    );
  });

  it('are checked with row numbers over all shards', async () => {
    const shards = await unzip(file('two-shards.zip'));
    const [first, second] = [0, 1].map((n) =>
      shards.get(`two-shards/data-0000${n}-of-00002.arrow`)!,
    );
    // Same length, so that the rest of the shard is unchanged.
    const broken = Buffer.from(
      second!.toString('latin1').replace('assistant', 'xssistant'),
      'latin1',
    );
    const zip = downloadZip([
      { name: 'state.json', input: '{"_data_files":[{"filename":"a"},{"filename":"b"}]}' },
      { name: 'a', input: new Uint8Array(first!) },
      { name: 'b', input: new Uint8Array(broken) },
    ]);
    const { body } = await send(Buffer.from(await zip.arrayBuffer()), 'folder.zip');
    expect(body).toMatchObject({ status: 'error' });
    expect(body.graft.problems).toEqual([expect.stringMatching(/^row 7: /)]);
  });

  it('are rejected if they unpack to more than the limit', async () => {
    const bytes = 80 * 2 ** 20;
    const data = new Array<string>(80 * 8).fill('x'.repeat(2 ** 17));
    const parquet = parquetWriteBuffer({ columnData: [{ name: 'text', data, type: 'STRING' }] });
    expect(parquet.byteLength).toBeLessThan(2 ** 18);
    const more = / bytes unpack to more than the limit of [\d,]+; upload it as JSON Lines$/;
    expect((await refused(parquet, 'a.parquet')).message).toMatch(more);
    const state = Buffer.from('{"_data_files":[{"filename":"data"}]}');
    const zeros = deflatedZip({ 'state.json': state, data: Buffer.alloc(bytes) });
    expect((await refused(zeros, 'a.zip')).message).toMatch(more);
  });
});

describe('unreadable uploads', () => {
  it.each(['state.json', 'data'])('a zip with a damaged %s is rejected', async (name) => {
    const state = Buffer.from('{"_data_files":[{"filename":"data"}]}');
    const zip = deflatedZip({ 'state.json': state, data: Buffer.from('data') });
    // block type that deflate does not have
    zip[zip.indexOf(name) + name.length] = 0x07;
    expect((await refused(zip, 'a.zip')).message).toBe(
      'the ZIP archive cannot be read: invalid block type',
    );
  });

  it('are rejected with the name of their format', async () => {
    const message = async (content: string | Buffer) => (await refused(content, 'data')).message;
    expect(await message(gzipSync('{}'))).toBe('this is a gzip archive; unpack it first');
    expect(await message(Buffer.from('PK\x03\x04rest'))).toMatch(
      /^the ZIP archive cannot be read: /,
    );
    expect(await message('%PDF-1.7')).toMatch(/^this is a PDF/);
    expect(await message(Buffer.from('\ufeffa,b', 'utf16le'))).toMatch(/UTF-16; save it as UTF-8/);
    expect(await message('Once upon a time.\nThe end.\n')).toMatch(/^this looks like plain text/);
  });

  it('leave no files if the client disconnects in the middle', async () => {
    for (const [name, start, more] of [
      ['a.csv', 'prompt,completion\n', 'a,b\n'],
      ['a.json', '[{"text":"a"},', '{"text":"x"},\n'],
      ['a.parquet', 'PAR1', 'x\n'],
    ] as const) {
      const cut = new AbortController();
      const head = `--b\r\ncontent-disposition: form-data; name="file"; filename="${name}"\r\n\r\n${start}`;
      let enqueued = false;
      const body = new ReadableStream({
        pull(controller) {
          if (!enqueued) controller.enqueue(Buffer.from(head + more.repeat(20_000)));
          enqueued = true;
          return new Promise(() => undefined);
        },
      });
      const sent = fetch(`${api.url}/v1/files`, {
        method: 'POST',
        headers: { ...api.headers, 'content-type': 'multipart/form-data; boundary=b' },
        body,
        signal: cut.signal,
        duplex: 'half',
      } as RequestInit).catch(() => null);
      const incoming = () => readdirSync(join(api.home, 'blobs', 'incoming')).length;
      await until(() => incoming() > 0);
      cut.abort();
      await sent;
      await until(() => incoming() === 0);
    }
  });

  it('with an unsupported purpose are rejected', async () => {
    for (const purpose of ['assistants', 'user_data', 'vision'])
      expect(await refused(chats(10), 'a.jsonl', { purpose })).toMatchObject({
        param: 'purpose',
        message: `purpose must be fine-tune, evals, or batch (got ${purpose})`,
      });
  });
});
