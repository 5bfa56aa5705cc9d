import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { writeTinyBase } from '../../../../test/tiny-base.js';
import { readJobFile } from './job-file.js';

let home: string;
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'graft-job-file-'));
  writeFileSync(join(home, 'data.jsonl'), '{"prompt":"2 + 2","completion":"4"}\n');
});
afterAll(() => rmSync(home, { recursive: true }));

const jobOn = (base: string, graft: object = {}) => {
  const path = join(home, 'job.json');
  writeFileSync(
    path,
    JSON.stringify({ model: `dir:${base}`, training_file: 'data.jsonl', peft: null, graft }),
  );
  return readJobFile(path);
};

it('uses the first task that the base supports if none is named, like the API', () => {
  for (const [family, task] of [
    ['llama', 'causal_lm'],
    ['t5', 'seq_2_seq_lm'],
  ] as const) {
    writeTinyBase(join(home, family), family);
    expect(jobOn(family).spec.task).toBe(task);
  }
});

it('reads the configs of the adapters that it combines', () => {
  writeTinyBase(join(home, 'llama'));
  const golden = join(import.meta.dirname, '../../../../test/golden/llama/xlora/0');
  cpSync(golden, join(home, 'lora'), { recursive: true });
  const read = (adapters: object) => {
    const path = join(home, 'mixed.json');
    const peft = { peft_type: 'XLORA', adapters };
    const job = { model: 'dir:llama', training_file: 'data.jsonl', peft };
    writeFileSync(path, JSON.stringify(job));
    return readJobFile(path);
  };
  const { spec, adapterDirs } = read({ 0: 'dir:lora', 1: 'dir:lora' });
  expect(adapterDirs).toEqual([join(home, 'lora'), join(home, 'lora')]);
  expect(spec.adapters).toMatchObject([{ peft_type: 'LORA', r: 2 }, { r: 2 }]);
  expect(() => read({ 0: 'lora' })).toThrow(
    'peft.adapters.0 is "lora"; a local run requires "dir:',
  );
});

it('rejects a task that the base does not support before loading anything', () => {
  writeTinyBase(join(home, 't5'), 't5');
  expect(() => jobOn('t5', { task: 'causal_lm' })).toThrow(/use seq_2_seq_lm/);
});

it.each([
  [{ learning_rate: 1e-4 }, 'unknown field learning_rate; did you mean graft.learning_rate?'],
  [{ lora_alpha: 8 }, 'unknown field lora_alpha; did you mean peft.lora_alpha?'],
])('rejects an unknown field like the API, with a suggestion: %j', (more, message) => {
  const path = join(home, 'unknown.json');
  writeFileSync(path, JSON.stringify({ model: 'dir:llama', training_file: 'data.jsonl', ...more }));
  const [param] = Object.keys(more);
  expect(() => readJobFile(path)).toThrow(
    expect.objectContaining({ code: 'unknown_parameter', message, param }),
  );
});
