// The code in an adapter's README, run with real PEFT: it must load the adapter on its base.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { labelled, writeChats, writeTinyBase } from '../tiny-base.js';
import { writeClips, writeTinySpeechBase, writeTinyCtcBase } from '../tiny-audio.js';
import { GGUF } from './smollm2.js';

const ROOT = join(import.meta.dirname, '../..');
const VENV = process.env['GRAFT_PARITY_VENV'] ?? join(ROOT, '.venv-parity');
const ready = existsSync(join(VENV, 'pins.sha256'));
const MAIN = join(ROOT, 'apps/worker/bundle/run/main.js');

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'graft-card-'));
  writeTinyBase(join(dir, 'base'));
  writeTinyBase(join(dir, 'encoder'), 'bert');
  writeFileSync(join(dir, 'labelled.jsonl'), labelled(4));
  writeChats(join(dir, 'train.jsonl'), 4);
  writeTinySpeechBase(join(dir, 'speech'));
  writeTinyCtcBase(join(dir, 'spelling'));
  writeClips(join(dir, 'sounds.jsonl'), 4, 'text', 0.8);
  writeFileSync(join(dir, 'pairs.jsonl'), '{"anchor":"a b","positive":"b c"}\n'.repeat(4));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const FILES: Readonly<Record<string, string>> = {
  causal_lm: 'train.jsonl',
  ctc: 'sounds.jsonl',
  feature_extraction: 'pairs.jsonl',
  seq_cls: 'labelled.jsonl',
  speech_seq_2_seq: 'sounds.jsonl',
};

/** Trains one step on the base and returns the folder of the adapter. */
function adapterOn(base: string, task: string): string {
  const out = join(dir, 'out');
  rmSync(out, { recursive: true, force: true });
  const job = {
    model: `dir:${base}`,
    training_file: FILES[task],
    peft: { peft_type: 'LORA', r: 2, target_modules: ['q_proj', 'query'] },
    graft: { max_steps: 1, task },
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

it.skipIf(!ready).for<[string, () => string, string?]>([
  ['a folder', () => join(dir, 'base')],
  ['a folder, without a head', () => join(dir, 'base'), 'feature_extraction'],
  ['a folder, with labels', () => join(dir, 'base'), 'seq_cls'],
  ['an encoder, with labels', () => join(dir, 'encoder'), 'seq_cls'],
  ['an audio encoder with CTC tokens', () => join(dir, 'spelling'), 'ctc'],
  ['a speech model', () => join(dir, 'speech'), 'speech_seq_2_seq'],
  ['a .gguf file', () => GGUF],
  ['a .gguf file, without a head', () => GGUF, 'feature_extraction'],
  ['a folder with a .gguf file', () => dirname(GGUF)],
])('loads on %s as printed', { timeout: 300_000 }, ([, base, task = 'causal_lm'], ctx) => {
  ctx.skip(base().startsWith(dirname(GGUF)) && !existsSync(GGUF), 'the GGUF is missing');
  const folder = adapterOn(base(), task);
  const card = readFileSync(join(folder, 'README.md'), 'utf8');
  const code =
    /```python\n(.*?)```/s.exec(card)?.[1]?.replaceAll('PATH_OF_THIS_FOLDER', folder) ?? '';
  const look = `print("adapters:", len([n for n, _ in model.named_parameters() if "lora_B" in n]))
print("labels:", sorted((model.config.label2id or {}).keys()))`;
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
  if (task === 'seq_cls') expect(python.stdout).toContain("labels: ['even', 'odd']");
});
