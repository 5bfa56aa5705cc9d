// `graft run` as a process, with a job file and an output folder.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { SPLIT_SEED } from '@graft/contracts';
import { causalLm } from '@graft/peft-core';
import { heldOut } from '../../libs/peft-core/src/datasets/held-out.js';
import { writeChats, writeTinyBase } from '../tiny-base.js';
import { writeImages, writeTinyImageBase } from '../tiny-images.js';

const MAIN = join(import.meta.dirname, '..', '..', 'apps', 'worker', 'dist', 'run', 'main.js');

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'graft-run-'));
  writeTinyBase(join(dir, 'base'));
  writeChats(join(dir, 'train.jsonl'), 20);
  writeChats(join(dir, 'valid.jsonl'), 6, 100);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const JOB = {
  model: 'dir:base',
  training_file: 'train.jsonl',
  seed: 3,
  peft: { peft_type: 'LORA', r: 4, target_modules: ['q_proj', 'v_proj'] },
  hyperparameters: { batch_size: 4, n_epochs: 2 },
  graft: { learning_rate: 0.01 },
};

function job(name: string, changes: object): string {
  const path = join(dir, `${name}.json`);
  writeFileSync(path, JSON.stringify({ ...JOB, ...changes }));
  return path;
}

const run = (file: string, out: string, ...more: string[]) =>
  spawnSync(process.execPath, [MAIN, file, '--out', join(dir, out), '--threads', '1', ...more], {
    encoding: 'utf8',
  });

/** Starts a run and kills it once one of its files exists. */
async function killedAfter(path: string, file: string, out: string): Promise<void> {
  const child = spawn(process.execPath, [MAIN, file, '--out', join(dir, out), '--threads', '1']);
  const timer = setInterval(() => existsSync(join(dir, path)) && child.kill('SIGKILL'), 2);
  const code = await new Promise<number | null>((resolve) => void child.once('exit', resolve));
  clearInterval(timer);
  expect(code).toBeNull();
}

const metrics = (out: string): Record<string, number>[] =>
  readFileSync(join(dir, out, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, number>);
const hash = (out: string): string =>
  createHash('sha256')
    .update(readFileSync(join(dir, out, 'adapter_model.safetensors')))
    .digest('hex');

it('writes the adapter and one line of metrics per step', () => {
  const { status, stderr } = run(job('plain', { validation_file: 'valid.jsonl' }), 'plain');
  expect(stderr).toMatch(
    /done: 10 steps, \d+ tokens in .*, [\d.]+ tokens\/s, peak memory [\d.]+ GiB/,
  );
  expect(status).toBe(0);
  expect(readdirSync(join(dir, 'plain')).sort()).toEqual(
    expect.arrayContaining(['adapter_config.json', 'adapter_model.safetensors', 'metrics.jsonl']),
  );
  expect(existsSync(join(dir, 'plain', '.checkpoint'))).toBe(false);
  const config = readFileSync(join(dir, 'plain', 'adapter_config.json'), 'utf8');
  expect(JSON.parse(config)).toMatchObject({ base_model_name_or_path: join(dir, 'base') });
  const steps = metrics('plain').filter((line) => 'loss' in line);
  expect(steps.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  for (const line of steps) {
    for (const key of ['loss', 'tokens', 'seconds', 'learning_rate', 'grad_norm'])
      expect(line[key], key).toBeTypeOf('number');
  }
  expect(steps.at(-1)?.['loss']).toBeLessThan(0.97 * (steps[0]?.['loss'] as number));
  expect(metrics('plain').at(-1)).toMatchObject({
    step: 10,
    valid_loss: expect.any(Number) as number,
  });
});

it('prints the plan and the truncated examples first', () => {
  const lines = readFileSync(join(dir, 'train.jsonl'), 'utf8').trim().split('\n');
  const long = {
    messages: [
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: 'x'.repeat(200) },
    ],
  };
  lines.splice(1, 0, JSON.stringify(long));
  writeFileSync(join(dir, 'long.jsonl'), lines.join('\n'));
  const changes = {
    training_file: 'long.jsonl',
    hyperparameters: {},
    graft: { max_steps: 2, max_seq_len: 100 },
  };
  const { stderr, status } = run(job('cut', changes), 'cut');
  expect(status).toBe(0);
  expect(stderr).toMatch(/21 examples · 3 epochs · 2 steps · [\d.]+ of 24.7 k parameters\n/);
  expect(stderr).toMatch(/1 example of the training_file truncated to 100 tokens: line 2\n/);
});

it('warns if a run diverges', () => {
  const peft = { peft_type: 'LORA', r: 4, modules_to_save: ['lm_head', 'norm'] };
  const { stderr } = run(job('ruined', { peft, graft: { learning_rate: 3 } }), 'ruined');
  expect(stderr).toMatch(
    /^warning: the loss is .*: the run has diverged; lower graft\.learning_rate/m,
  );
});

it('writes the same bytes again, and other bytes for another seed', () => {
  expect(run(job('again', {}), 'again').status).toBe(0);
  expect(run(job('once-more', {}), 'once-more').status).toBe(0);
  expect(run(job('seed', { seed: 4 }), 'seed').status).toBe(0);
  expect(hash('once-more')).toBe(hash('again'));
  expect(hash('seed')).not.toBe(hash('again'));
});

it('saves on Ctrl-C and resumes to the same bytes', async () => {
  const file = job('long', {
    hyperparameters: { batch_size: 2, n_epochs: 6 },
    graft: { ...JOB.graft, validation_split: 0.2, eval_steps: 0 },
  });
  expect(run(file, 'uninterrupted').status).toBe(0);
  const child = spawn(process.execPath, [
    MAIN,
    file,
    '--out',
    join(dir, 'interrupted'),
    '--threads',
    '1',
  ]);
  const code = await new Promise<number | null>((resolve) => {
    const timer = setInterval(() => {
      const path = join(dir, 'interrupted', 'metrics.jsonl');
      if (existsSync(path) && readFileSync(path, 'utf8').split('\n').length > 8) {
        clearInterval(timer);
        child.kill('SIGINT');
      }
    }, 2);
    child.once('exit', resolve);
  });
  expect(code).toBe(130);
  expect(readdirSync(join(dir, 'interrupted', '.checkpoint'))).toEqual([
    expect.stringMatching(/^checkpoint-\d+$/),
  ]);
  const second = run(file, 'interrupted');
  expect(second.stderr).toMatch(/resuming from step \d+/);
  expect(second.status).toBe(0);
  const losses = (out: string) =>
    metrics(out).map(({ step, loss, valid_loss }) => ({ step, loss, valid_loss }));
  expect(losses('interrupted').map(({ step }) => step)).toEqual([
    ...Array.from({ length: 48 }, (_, i) => i + 1),
    48,
  ]);
  expect(losses('interrupted')).toEqual(losses('uninterrupted'));
  expect(hash('interrupted')).toBe(hash('uninterrupted'));
});

it('trains on the examples that are not held out, as with two files', () => {
  const chats = readFileSync(join(dir, 'train.jsonl'), 'utf8').trim().split('\n');
  const split = { share: 0.25, seed: SPLIT_SEED };
  const held = heldOut(join(dir, 'train.jsonl'), { task: causalLm, tasks: null }, split);
  const part = (of: boolean) => chats.filter((_, place) => held.has(place) === of).join('\n');
  writeFileSync(join(dir, 'rest.jsonl'), part(false));
  writeFileSync(join(dir, 'held.jsonl'), part(true));
  const files = { training_file: 'rest.jsonl', validation_file: 'held.jsonl' };
  const graft = { ...JOB.graft, validation_split: split.share };
  const one = run(job('split', { graft }), 'split');
  expect(one.stderr).toContain('15 examples');
  expect(one.status).toBe(0);
  expect(run(job('files', files), 'files').status).toBe(0);
  expect(hash('split')).toBe(hash('files'));
  expect(metrics('split').at(-1)?.['valid_loss']).toBe(metrics('files').at(-1)?.['valid_loss']);
  const both = run(job('both', { ...files, graft }), 'both');
  expect(both.stderr).toContain('leave one of the two out [graft.validation_split]');
});

it('holds out a tenth of 50 records or more, and the same ones after a resume', async () => {
  writeChats(join(dir, 'sixty.jsonl'), 60);
  const file = job('sixty', {
    training_file: 'sixty.jsonl',
    graft: { ...JOB.graft, save_steps: 10 },
  });
  const held = run(file, 'held');
  expect(held.stderr).toContain('54 examples');
  expect(held.stderr).toContain('6 examples held out for validation');
  const steps = metrics('held').flatMap(({ valid_loss, step }) => (valid_loss ? [step] : []));
  expect(steps).toEqual([14, 28]);

  await killedAfter(join('killed', '.checkpoint', 'checkpoint-10'), file, 'killed');
  const again = run(file, 'killed');
  expect(again.stderr).toMatch(/resuming from step \d+/);
  expect(again.stderr).toContain('6 examples held out for validation');
  expect(again.status).toBe(0);
  expect(hash('killed')).toBe(hash('held'));
});

it('stops early if evaluations do not improve, and at the same step after a resume', async () => {
  const graft = { learning_rate: 0.00001, validation_split: 0.25, eval_steps: 2 };
  const patient = { ...graft, early_stopping_patience: 3, save_steps: 1 };
  const hyperparameters = { batch_size: 4, n_epochs: 12 };
  const file = job('early', { graft: patient, hyperparameters });
  expect(run(file, 'early').stderr).toMatch(/done: 8 steps/);
  // The first evaluation is the best, and the next three are not better.
  expect(metrics('early').flatMap(({ valid_loss, step }) => (valid_loss ? [step] : []))).toEqual([
    2, 4, 6, 8,
  ]);
  const child = spawn(process.execPath, [
    MAIN,
    file,
    '--out',
    join(dir, 'early-on'),
    '--threads',
    '1',
  ]);
  const code = await new Promise<number | null>((resolve) => {
    const timer = setInterval(() => {
      const path = join(dir, 'early-on', 'metrics.jsonl');
      if (!existsSync(path) || !readFileSync(path, 'utf8').includes('"step":5')) return;
      clearInterval(timer);
      child.kill('SIGKILL');
    }, 2);
    child.once('exit', resolve);
  });
  expect(code).toBeNull();
  const again = run(file, 'early-on');
  expect(again.stderr).toMatch(/resuming from step [4-7]\n/);
  expect(again.stderr).toMatch(/done: 8 steps/);
  expect(hash('early-on')).toBe(hash('early'));
  const hopeful = job('hopeful', { graft: { ...patient, learning_rate: 0.01 }, hyperparameters });
  expect(Number(/done: (\d+) steps/.exec(run(hopeful, 'hopeful').stderr)?.[1])).toBeGreaterThan(8);
  const blind = run(job('blind', { graft: { early_stopping_patience: 3 } }), 'blind');
  expect(blind.stderr).toContain(
    'give it a validation_file or graft.validation_split [graft.early_stopping_patience]',
  );
});

it('starts from an adapter, in the order of the file, for max_steps', () => {
  const graft = { ...JOB.graft, shuffle: false, max_steps: 3, init_adapter: 'dir:again' };
  expect(run(job('init', { graft }), 'init').status).toBe(0);
  const steps = metrics('init');
  expect(steps.length).toBe(3);
  expect(steps[0]?.['loss']).toBeLessThan(metrics('again')[0]?.['loss'] as number);
  // The first batch is the file's first four records, regardless of the seed.
  expect(run(job('init-seed', { graft, seed: 99 }), 'init-seed').status).toBe(0);
  expect(metrics('init-seed')[0]?.['loss']).toBe(steps[0]?.['loss']);
});

it('starts from an adapter with per-module ranks and keeps its ranks', () => {
  const eva = { peft_type: 'LORA', r: 2, init_lora_weights: 'eva', eva_config: { rho: 3 } };
  const peft = { ...eva, target_modules: 'all-linear' };
  const first = { ...JOB, peft, graft: { ...JOB.graft, max_steps: 2 } };
  expect(run(job('eva', first), 'eva').status).toBe(0);
  const graft = { ...JOB.graft, max_steps: 2, init_adapter: 'dir:eva' };
  const more = { peft_type: 'LORA', lora_dropout: 0.1 };
  expect(run(job('eva-on', { peft: more, graft }), 'eva-on').status).toBe(0);
  const config = (name: string): Record<string, unknown> =>
    JSON.parse(readFileSync(join(dir, name, 'adapter_config.json'), 'utf8')) as never;
  const { rank_pattern: ranks } = config('eva');
  expect(Object.keys(ranks as object).length).toBeGreaterThan(0);
  expect(config('eva-on')).toMatchObject({ rank_pattern: ranks, r: 2, lora_dropout: 0.1 });
  const other = run(job('eva-other', { peft: { ...more, lora_alpha: 99 }, graft }), 'eva-other');
  expect(other.status).not.toBe(0);
  expect(other.stderr).toContain('[peft.lora_alpha]');
});

it.each([
  ['a field that does not exist', { graft: { learning_rat: 1 } }, /learning_rat/],
  ['an unknown PEFT field', { peft: { peft_type: 'LORA', rank: 4 } }, /peft\.rank/],
  ['a missing base', { model: 'dir:nowhere' }, /\[model\]/],
  ['a model without dir:', { model: 'SmolLM2' }, /dir:PATH.*\[model\]/],
  ['a missing file', { training_file: 'none.jsonl' }, /\[training_file\]/],
  [
    'a module that does not exist',
    { peft: { peft_type: 'LORA', target_modules: ['query'] } },
    /\[peft\.target_modules\]/,
  ],
])('reports the error: %s', (name, changes, message) => {
  const { status, stderr } = run(job('wrong', changes), `wrong-${name.replaceAll(' ', '-')}`);
  expect(stderr).toMatch(message);
  expect(status).toBe(1);
});

it('reports the line of an invalid record', () => {
  writeFileSync(
    join(dir, 'bad.jsonl'),
    `${readFileSync(join(dir, 'train.jsonl'), 'utf8')}{"messages":[]}\n`,
  );
  const { status, stderr } = run(job('bad-line', { training_file: 'bad.jsonl' }), 'bad-line');
  expect(stderr).toMatch(/line 21/);
  expect(status).toBe(1);
});

it('an image job needs only its base and its file', () => {
  writeTinyImageBase(join(dir, 'pictures-base'));
  writeImages(join(dir, 'pictures.jsonl'), 12);
  const file = job('pictures', { model: 'dir:pictures-base', training_file: 'pictures.jsonl' });
  const done = run(file, 'pictures-out');
  expect(done.stderr).toContain('12 examples');
  expect(done.status).toBe(0);
  const found = JSON.parse(
    readFileSync(join(dir, 'pictures-out', 'config.json'), 'utf8'),
  ) as object;
  expect(found).toMatchObject({ id2label: { 0: 'blue', 1: 'green', 2: 'red' } });
});

it('writes the adapter of the best evaluation, even after a kill following it', async () => {
  writeChats(join(dir, 'six.jsonl'), 6);
  writeChats(join(dir, 'other.jsonl'), 6, 200);
  const files = { training_file: 'six.jsonl', validation_file: 'other.jsonl' };
  const hyperparameters = { batch_size: 3, n_epochs: 30 };
  const graft = { learning_rate: 0.03, lr_schedule: 'constant', max_steps: 60, eval_steps: 2 };
  const file = job('best', { ...files, hyperparameters, graft });
  const whole = run(file, 'best').stderr;
  const of = /adapter: .* \(of step (\d+), the best evaluation\)/;
  const step = Number(of.exec(whole)?.[1]);
  expect(step).toBeLessThan(50);
  expect(readFileSync(join(dir, 'best', 'README.md'), 'utf8')).toContain(
    `after step ${step}, the best`,
  );
  const child = spawn(process.execPath, [
    MAIN,
    file,
    '--out',
    join(dir, 'best-on'),
    '--threads',
    '1',
  ]);
  const isBehind = (): boolean => {
    const path = join(dir, 'best-on', 'metrics.jsonl');
    return existsSync(path) && readFileSync(path, 'utf8').includes(`"step":${step + 3}`);
  };
  const code = await new Promise<number | null>((resolve) => {
    const timer = setInterval(() => {
      if (!isBehind()) return;
      clearInterval(timer);
      child.kill('SIGKILL');
    }, 2);
    child.once('exit', resolve);
  });
  expect(code).toBeNull();
  const again = run(file, 'best-on').stderr;
  expect(again).toMatch(/resuming from step \d+\n/);
  expect(Number(of.exec(again)?.[1])).toBe(step);
  expect(hash('best-on')).toBe(hash('best'));
  const last = job('last', {
    ...files,
    hyperparameters,
    graft: { ...graft, load_best_model_at_end: false },
  });
  expect(run(last, 'last').stderr).not.toMatch(of);
  expect(hash('last')).not.toBe(hash('best'));
});
