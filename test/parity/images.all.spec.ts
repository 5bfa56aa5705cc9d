// An adapter trained by Graft on labels of images, loaded by real PEFT: it must predict the same for the same
// files, which transformers reads itself.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setThreads } from '@graft/kernels';
import {
  answersTo,
  loadBase,
  openRun,
  RunGroup,
  takeTurn,
  taskFor,
  type FactOfRun,
} from '@graft/peft-core';
import { resolveSpec } from '@graft/peft-core/catalog';
import { afterAll, expect, it } from 'vitest';
import { COLOURS, colourPng, dataUrl, writeImages, writeTinyImageBase } from '../tiny-images.js';

const ROOT = join(import.meta.dirname, '../..');
const VENV = process.env['GRAFT_PARITY_VENV'] ?? join(ROOT, '.venv-parity');
const ready = existsSync(join(VENV, 'pins.sha256'));

const dir = mkdtempSync(join(tmpdir(), 'graft-parity-pictures-'));
afterAll(() => rmSync(dir, { recursive: true }));

it.skipIf(!ready)(
  'predicts labels of images like PEFT',
  () => {
    setThreads(1);
    const folder = writeTinyImageBase(join(dir, 'base'));
    const base = loadBase(folder, { dtype: 'f32', quantization: null });
    const trainFile = writeImages(join(dir, 'pictures.jsonl'), 12);
    const peft = { peft_type: 'LORA', r: 4, target_modules: ['q_proj', 'v_proj'] };
    const spec = resolveSpec(
      {
        model: 'base',
        training_file: 'file',
        seed: 3,
        peft,
        hyperparameters: { batch_size: 4, n_epochs: 5 },
        graft: { learning_rate: 0.03, base_dtype: 'f32' },
      } as never,
      { trainingRecords: 12, modelType: 'vit' } as never,
    );
    const run = openRun(base, spec, {
      id: 1,
      baseId: 'base',
      baseName: folder,
      trainFile,
      workDir: join(dir, 'run'),
    });
    const { task_options: options } = run.spec;
    const task = taskFor('image_cls');

    const paths = COLOURS.map((colour, i) => {
      const path = join(dir, `${colour}.png`);
      writeFileSync(path, colourPng(colour, 70 + i));
      return path;
    });
    const goldens = join(ROOT, 'test/golden/image-processors');
    const all = [...paths, join(goldens, 'turned.jpg'), join(goldens, 'alpha.png')];
    const infer = task.infer!;
    const records = all.map((path) => infer.record(dataUrl(readFileSync(path), 'image/x-file')));
    const how = { maxSeqLen: 100, vocabSize: 0, taskOptions: options };
    const examples = infer.encode(records, base.processor, how).map(({ example }) => example);

    const group = new RunGroup(base.model);
    group.add(run);
    let [ours, adapter]: [unknown[], string] = [[], ''];
    while (group.size > 0)
      takeTurn(group, (_, fact) => {
        // A run is detached from its base after it ends.
        if (fact.type === 'step' && run.done)
          ours = answersTo(infer, base.model, [{ run: run.id, examples, options }]);
        if (fact.type === 'finished') adapter = (fact as FactOfRun<'finished'>).dir;
      });
    expect(ours).toHaveLength(all.length);

    const python = spawnSync(
      join(VENV, 'bin/python'),
      [join(ROOT, 'test/parity/image_labels.py')],
      {
        input: JSON.stringify({ base: folder, adapter, pictures: all }),
        env: {
          ...process.env,
          HF_HUB_OFFLINE: '1',
          PYTHONDONTWRITEBYTECODE: '1',
          TRANSFORMERS_VERBOSITY: 'error',
        },
        encoding: 'utf8',
      },
    );
    if (python.status !== 0) throw new Error(python.stderr);
    const theirs = JSON.parse(python.stdout) as Record<string, number>[];
    let largest = 0;
    for (const [i, answer] of ours.entries()) {
      const { probabilities } = answer as { probabilities: Record<string, number> };
      expect(Object.keys(probabilities)).toEqual(Object.keys(theirs[i]!));
      for (const [label, value] of Object.entries(theirs[i]!))
        largest = Math.max(largest, Math.abs(value - probabilities[label]!));
    }
    expect(ours.slice(0, 3)).toMatchObject(COLOURS.map((label) => ({ label })));
    // measured: 2e-7
    expect(largest).toBeLessThan(1e-5);
    base.dispose();
  },
  300_000,
);
