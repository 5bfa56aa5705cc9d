// The report about uploaded training data: counts, warnings and problems.
import { createHash } from 'node:crypto';
import type { FileObject, FileRecordObject } from '@graft/contracts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chats, startTestApi, type TestApi } from './fixture.js';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api?.close());

async function upload(content: string | Buffer, name = 'data.jsonl'): Promise<FileObject> {
  const file = new File([new Uint8Array(Buffer.from(content))], name);
  return (await api.client.files.create({ file, purpose: 'fine-tune' })) as FileObject;
}

describe('the report of an upload', () => {
  it('counts records and warns about anomalies, and is stored with the file', async () => {
    const [first = ''] = chats(1).split('\n');
    const odd = `{"parallel_tool_calls":false,${first.slice(1)}`;
    const text = `${chats(9)}${odd}\n${first}\n{"prompt":"2 + 2?","completion":"4"}\n`;
    const made = await upload(text);
    expect(made).toMatchObject({ status: 'processed', status_details: null });
    expect(made.graft).toEqual({
      records: 12,
      problems: [],
      tasks: expect.arrayContaining([{ task: 'causal_lm', fits: true, problem: null }]) as unknown,
      checked_as: 'causal_lm',
      formats: { messages: 11, prompt_completion: 1 },
      duplicates: 2,
      duplicate_lines: [10, 11],
      ignored_fields: { parallel_tool_calls: 1 },
      longest_line: { line: 10, bytes: odd.length },
      converted_from: null,
      warnings: [
        'The records are in more than one format: 11 chats, 1 prompt with its completion.',
        '2 records repeat an earlier one: lines 10, 11.',
        'Training ignores the field "parallel_tool_calls", which 1 record has.',
      ],
    });
    expect(await api.get(`/files/${made.id}`)).toEqual(made);
    const { data } = await api.get<{ data: FileObject[] }>('/files');
    expect(data.find(({ id }) => id === made.id)).toEqual(made);
  });

  it('is found by the hash of the file, whatever its name', async () => {
    const made = await upload(chats(3), 'one-name.jsonl');
    const sha256 = createHash('sha256').update(chats(3)).digest('hex');
    const found = await api.get<{ data: FileObject[] }>(
      `/files?sha256=${sha256}&purpose=fine-tune`,
    );
    expect(found.data).toEqual([made]);
    expect((await api.get<{ data: unknown[] }>(`/files?sha256=${'0'.repeat(64)}`)).data).toEqual(
      [],
    );
  });

  it('groups lines with the same problem', async () => {
    const bad = '{"conversation":[]}\n';
    const made = await upload(`${bad.repeat(12)}${chats(2)}${bad}x\n`);
    expect(made.status).toBe('error');
    expect(made.graft).toMatchObject({ records: 2, formats: { messages: 2 } });
    expect(made.graft?.problems).toEqual([
      expect.stringMatching(/^lines 1–12, 15: a record must be one of .*"conversation"$/),
      expect.stringMatching(/^line 16: not valid JSON/),
    ]);
    expect(made.status_details).toBe(made.graft?.problems.join('; '));
  });
});

describe('the records of a file', () => {
  const records = (id: string, query = '') =>
    api.get<{ data: FileRecordObject[]; has_more: boolean }>(`/files/${id}/records?${query}`);

  it('are read by line, with pages', async () => {
    const { id } = await upload(`\n${chats(45)}\n{"text":"the last"}`);
    const first = await records(id);
    expect(first.data.map(({ line }) => line)).toEqual(Array.from({ length: 20 }, (_, n) => n + 2));
    expect(first).toMatchObject({ object: 'list', has_more: true });
    expect(first.data[0]).toEqual({
      line: 2,
      record: JSON.parse(chats(1)) as unknown,
      problem: null,
      text: null,
    });
    const last = await records(id, 'after=45&limit=3');
    expect(last.data.map(({ line }) => line)).toEqual([46, 48]);
    expect(last).toMatchObject({ has_more: false, data: [{}, { record: { text: 'the last' } }] });
    expect((await records(id, 'after=48')).data).toEqual([]);
  });

  it('include the problem of a line, and exist only for training data', async () => {
    const { id } = await upload(`{"text":"fine"}\n{"text":5}\nno JSON ${'x'.repeat(5000)}\n`);
    const { data } = await records(id);
    expect(data[1]).toEqual({
      line: 2,
      record: null,
      problem: '"text" must be a string',
      text: '{"text":5}',
    });
    expect(data[2]).toMatchObject({ line: 3, problem: expect.stringMatching(/not valid JSON/) });
    expect(data[2]?.text).toHaveLength(1000);
    await expect(records(id, 'after=x')).rejects.toThrow('after must be a line number');
    await api.query(`UPDATE file SET purpose = 'fine-tune-results' WHERE id = $1`, [id]);
    await expect(records(id)).rejects.toThrow('only files with purpose fine-tune have records');
  });

  it('are read for one request per project at a time, with a bounded queue', async () => {
    const { id } = await upload(`{"text":"${'x'.repeat(500)}"}\n`.repeat(20_000));
    const asked = Array.from({ length: 60 }, () =>
      records(id, 'after=19990').then(
        ({ data }) => data.length,
        ({ message }: Error) => message,
      ),
    );
    const answers = new Set(await Promise.all(asked));
    expect([...answers].sort()).toEqual([
      10,
      expect.stringContaining('too many records of files are being read for this project'),
    ]);
  });

  it('limit the page size if lines are long', async () => {
    const long = `{"text":"${'x'.repeat(900_000)}"}\n`;
    const { id } = await upload(long.repeat(5));
    const page = await records(id);
    expect(page.data.map(({ line }) => line)).toEqual([1, 2]);
    expect(page.has_more).toBe(true);
    expect((await records(id, 'after=4')).has_more).toBe(false);
  });
});
