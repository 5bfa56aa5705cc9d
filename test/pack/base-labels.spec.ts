// Order of the labels of a job that does not set them.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setThreads } from '@graft/kernels';
import { loadBase, openRun, taskFor } from '@graft/peft-core';
import { beforeAll, expect, it, onTestFinished } from 'vitest';
import { labelled, writeTinyBase } from '../tiny-base.js';
import { mediaSpec } from './media-runs.js';

beforeAll(() => setThreads(1));

it.each<[string, object, readonly string[] | null, readonly string[]]>([
  ["is the base's where it names just these", { 0: 'odd', 1: 'even' }, null, ['odd', 'even']],
  ["is the job's where it says one", { 0: 'odd', 1: 'even' }, ['even', 'odd'], ['even', 'odd']],
  ['is that of their letters where the base names others', { 0: 'odd', 1: 'prime' }, null, ['even', 'odd']], // prettier-ignore
  ['and where it names more', { 0: 'odd', 1: 'even', 2: 'prime' }, null, ['even', 'odd']],
])('%s', (_, id2label, labels, expected) => {
  const dir = mkdtempSync(join(tmpdir(), 'graft-labels-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const folder = writeTinyBase(join(dir, 'base'), 'bert');
  const path = join(folder, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as object;
  writeFileSync(path, JSON.stringify({ ...config, id2label }));
  const trainFile = join(dir, 'labelled.jsonl');
  writeFileSync(trainFile, labelled(4));
  const base = loadBase(folder, { dtype: 'f32', quantization: null });
  const options = taskFor('seq_cls').options.parse({ labels }) as Record<string, unknown>;
  const peft = { peft_type: 'LORA', r: 2, target_modules: ['query'] };
  const spec = { ...mediaSpec('seq_cls'), peft, task_options: options };
  const run = openRun(base, spec, { id: 1, baseId: 'base', trainFile, workDir: join(dir, 'run') });
  expect(run.spec.task_options['labels']).toEqual(expected);
  base.dispose();
});
