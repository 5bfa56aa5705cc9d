// What an upload of training data is told back: counts, what is odd about it, what cannot be used.
import type { FileObject } from '@graft/contracts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chats, startTestApi, type TestApi } from './api-fixture.js';

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
  it('counts what is in it and says what is odd, and stays with the file', async () => {
    const [first = ''] = chats(1).split('\n');
    const odd = `{"parallel_tool_calls":false,${first.slice(1)}`;
    const text = `${chats(9)}${odd}\n${first}\n{"prompt":"2 + 2?","completion":"4"}\n`;
    const made = await upload(text);
    expect(made).toMatchObject({ status: 'processed', status_details: null });
    expect(made.graft).toEqual({
      records: 12,
      problems: [],
      formats: { messages: 11, prompt_completion: 1 },
      duplicates: 2,
      duplicate_lines: [10, 11],
      ignored_fields: { parallel_tool_calls: 1 },
      longest_line: { line: 10, bytes: odd.length },
      converted_from: null,
      warnings: [
        'The records are of more than one format: 11 chats, 1 prompt with its completion.',
        '2 records say the same as an earlier one: lines 10, 11.',
        'Training does not read "parallel_tool_calls", which 1 record has.',
      ],
    });
    expect(await api.get(`/files/${made.id}`)).toEqual(made);
    const { data } = await api.get<{ data: FileObject[] }>('/files');
    expect(data.find(({ id }) => id === made.id)).toEqual(made);
  });

  it('says once what is wrong with many lines', async () => {
    const bad = '{"conversation":[]}\n';
    const made = await upload(`${bad.repeat(12)}${chats(2)}${bad}x\n`);
    expect(made.status).toBe('error');
    expect(made.graft).toMatchObject({ records: 2, formats: { messages: 2 } });
    expect(made.graft?.problems).toEqual([
      expect.stringMatching(/^lines 1–12, 15: a record is one of .*"conversation"$/),
      expect.stringMatching(/^line 16: not valid JSON/),
    ]);
    expect(made.status_details).toBe(made.graft?.problems.join('; '));
  });
});
