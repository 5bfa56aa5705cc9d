// Weight decay as in Trainer of Transformers: the excluded parameters of each base, and their exclusion in a
// run.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decaysIn, loadBase, openRun, outlineOf, type HfConfig } from '@graft/peft-core';
import { expect, it, onTestFinished } from 'vitest';
import { adapterOf, mediaSpec, train } from '../pack/media-runs.js';
import { writeTinyBase } from '../tiny-base.js';
import { baseConfig, bases, json } from './golden-case.js';

/**
 * Parameters without weight decay other than biases. Names have no layer numbers, and for models without a
 * head no prefix.
 */
const UNDECAYED = json<Readonly<Record<string, readonly string[]>>>('weight-decay.json');

it.each(bases)('of %s equals that of Transformers', (family) => {
  const outline = outlineOf(baseConfig(family) as unknown as HfConfig);
  const decays = decaysIn(outline.norms());
  const modules = [...outline.linears(), ...outline.norms(), ...outline.embeddings()];
  const names = modules
    .filter(({ path }) => !/(?:\.|proj_)bias$/.test(path))
    .map(({ path }) => `${path}.weight`);
  const isSpared = (name: string): boolean => {
    const wanted = `.${name.replaceAll(/\.\d+(?=\.)/g, '.N')}`;
    return UNDECAYED[family]!.some((spared) => wanted.endsWith(`.${spared}`));
  };
  expect(names.filter((name) => !decays(name))).toEqual(names.filter(isSpared));
  expect(names.some(isSpared)).toBe(true);
});

it('excludes norms in a run, whatever their names', () => {
  const dir = mkdtempSync(join(tmpdir(), 'graft-decay-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const folder = writeTinyBase(join(dir, 'base'), 'mpt');
  const base = loadBase(folder, { dtype: 'f32', quantization: null });
  const trainFile = join(dir, 'train.jsonl');
  writeFileSync(trainFile, '{"text":"abc abd"}\n'.repeat(4));
  const peft = { peft_type: 'LN_TUNING', target_modules: ['norm_1'] };
  const trained = [0, 10].map((weight_decay) => {
    const workDir = join(dir, `run-${weight_decay}`);
    const spec = { ...mediaSpec('causal_lm'), task_options: {}, peft, weight_decay };
    const run = openRun(base, spec, { id: 1, baseId: 'base', trainFile, workDir });
    return adapterOf(train(base.model, [run]).get(1)!);
  });
  base.dispose();
  expect(trained[1]!.equals(trained[0]!)).toBe(true);
});
