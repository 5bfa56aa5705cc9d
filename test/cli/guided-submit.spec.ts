// graft submit on a terminal, which asks for the job, against a real API.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FileObject, JobObject } from '@graft/contracts';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { chats, importBase, startTestApi, type TestApi } from '../../apps/api/test/fixture.js';
import { graft, onTerminal } from './graft.js';

let api: TestApi;
const ENTER = '\r';
const DOWN = '\u001b[B';

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
});
afterAll(() => api?.close());

const jobs = async (): Promise<readonly JobObject[]> =>
  (await api.get<{ data: readonly JobObject[] }>('/fine_tuning/jobs')).data;
const files = async (): Promise<readonly FileObject[]> =>
  (await api.get<{ data: readonly FileObject[] }>('/files')).data;

/** A folder with one file, in which the command runs. */
function folder(name: string, content: string): string {
  const path = mkdtempSync(join(tmpdir(), 'graft-cli-asks-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  writeFileSync(join(path, name), content);
  return path;
}

it('asks for file, base, method and length, shows the plan and starts the job', async () => {
  const cwd = folder('chats.jsonl', chats(12));
  const { code, shown } = await onTerminal(api.home, ['submit'], {
    cwd,
    columns: 120,
    keys: [
      ['Training data', ENTER],
      ['Base model', ENTER],
      ['Method', `${DOWN}${ENTER}`],
      ['Length', `${DOWN}${ENTER}`],
      ['Start\\?', ENTER],
    ],
  });
  expect(code, shown).toBe(0);
  expect(shown).toContain('12 examples');
  expect(shown).toMatch(/\d+ steps/);
  expect(shown).toMatch(
    /The same again: graft submit --model tiny --train chats\.jsonl --task causal_lm --method dora --epochs \d+/,
  );
  const [job] = await jobs();
  expect(job).toMatchObject({ model: 'tiny', peft: { peft_type: 'LORA', use_dora: true } });
  await api.post(`/fine_tuning/jobs/${job!.id}/cancel`);
});

it('asks for the columns of a table, and deletes the upload if the answer is no', async () => {
  const rows = Array.from({ length: 12 }, (_, n) => `Ticket ${n},${n % 3}\n`).join('');
  const cwd = folder('tickets.csv', `message,category\n${rows}`);
  const before = [(await jobs()).length, (await files()).length];
  const { code, shown } = await onTerminal(api.home, ['submit', '-m', 'tiny'], {
    cwd,
    columns: 120,
    keys: [
      ['Training data', ENTER],
      ['Which columns', ENTER],
      ['Method', ENTER],
      ['Length', ENTER],
      ['Start\\?', 'n'],
    ],
  });
  expect(code, shown).toBe(0);
  expect(shown).toContain('text=message, label=category');
  expect(shown).toContain('12 examples, 3 labels');
  expect(shown).toContain('Nothing was started');
  expect([(await jobs()).length, (await files()).length]).toEqual(before);
});

it('leaves nothing behind after Ctrl-C', async () => {
  const cwd = folder('more.jsonl', chats(13));
  const before = [(await jobs()).length, (await files()).length];
  for (const stop of ['Training data', 'Method']) {
    const keys: [string, string][] = [
      ['Training data', ENTER],
      ['Base model', ENTER],
      ['Method', ENTER],
    ];
    const at = keys.findIndex(([text]) => text === stop);
    const { code, shown } = await onTerminal(api.home, ['submit'], {
      cwd,
      keys: [...keys.slice(0, at), [stop, '\u0003']],
    });
    expect(code, shown).toBe(130);
    expect(shown).toContain('cancelled; nothing was changed');
    expect([(await jobs()).length, (await files()).length]).toEqual(before);
  }
});

it('does not ask without a terminal, or if nothing is left open', async () => {
  const done = await graft(api.home, ['submit']);
  expect([done.code, done.err]).toEqual([2, expect.stringContaining('--model is required')]);
  const cwd = folder('plain.txt', 'Once upon a time\nthere was a file.\n');
  const plain = await graft(api.home, ['submit', '-m', 'tiny', '-t', join(cwd, 'plain.txt')]);
  expect(plain.err).toContain('this looks like plain text, not JSON Lines');
  const before = (await files()).length;
  const wrong = ['submit', '-m', 'tiny', '-t', join(folder('x.jsonl', chats(12)), 'x.jsonl')];
  const refused = await graft(api.home, [...wrong, '--set', 'graft.learning_rat=1']);
  expect([refused.code, refused.err]).toEqual([
    1,
    expect.stringContaining('did you mean graft.learning_rate?'),
  ]);
  expect(refused.err).not.toContain('Uploaded');
  expect((await files()).length).toBe(before);
});
