// What the README of an adapter says, typed into real PEFT: it must load the adapter on its base.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { writeChats, writeTinyBase } from '../tiny-base.js';
import { GGUF } from './smollm2.js';

const ROOT = join(import.meta.dirname, '../..');
const VENV = process.env['GRAFT_PARITY_VENV'] ?? join(ROOT, '.venv-parity');
const ready = existsSync(join(VENV, 'pins.sha256'));
const MAIN = join(ROOT, 'apps/worker/dist/run/main.js');

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'graft-card-'));
  writeTinyBase(join(dir, 'base'));
  writeChats(join(dir, 'train.jsonl'), 4);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Trains one step on the base and returns the folder of the adapter. */
function adapterOn(base: string): string {
  const out = join(dir, 'out');
  rmSync(out, { recursive: true, force: true });
  const job = {
    model: `dir:${base}`,
    training_file: 'train.jsonl',
    peft: { peft_type: 'LORA', r: 2, target_modules: ['q_proj'] },
    graft: { max_steps: 1 },
  };
  writeFileSync(join(dir, 'job.json'), JSON.stringify(job));
  const run = spawnSync(
    process.execPath,
    [MAIN, join(dir, 'job.json'), '--out', out, '--threads', '1'],
    {
      encoding: 'utf8',
    },
  );
  expect(run.stderr).toContain('done: 1 steps');
  return out;
}

it.skipIf(!ready).for<[string, () => string]>([
  ['a folder', () => join(dir, 'base')],
  ['a .gguf file', () => GGUF],
  ['a folder with a .gguf file', () => dirname(GGUF)],
])('loads on %s as printed', { timeout: 300_000 }, ([, base], ctx) => {
  ctx.skip(base().startsWith(dirname(GGUF)) && !existsSync(GGUF), 'the GGUF is not there');
  const folder = adapterOn(base());
  const card = readFileSync(join(folder, 'README.md'), 'utf8');
  const code = /```python\n(.*?)```/s.exec(card)?.[1]?.replace('PATH_OF_THIS_FOLDER', folder) ?? '';
  const look = 'print("adapters:", len([n for n, _ in model.named_parameters() if "lora_B" in n]))';
  const python = spawnSync(
    join(VENV, 'bin/python'),
    ['-W', 'error::UserWarning', '-c', `${code}\n${look}`],
    {
      encoding: 'utf8',
      env: { ...process.env, HF_HUB_OFFLINE: '1' },
    },
  );
  expect(python.stderr).not.toContain('Traceback');
  expect(python.stdout).toMatch(/^adapters: [1-9]/m);
});
