import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mapSafetensors } from '@graft/kernels';
import { expect, it } from 'vitest';
import { attachMethod } from '../../methods/frame/attach-method.js';
import type { HfConfig } from '../../nn/hf-files.js';
import { buildModel } from '../../models/registry.js';
import { taskFor } from '../../tasks/registry.js';
import { readAdapter, writeAdapter } from '../adapter/peft-adapter.js';

const GOLDEN = join(import.meta.dirname, '../../../../../test/golden');

it.each(['mixtral', 'qwen3_moe', 'gpt_neox', 'llama'])(
  '%s: a whole model is written under the names of its base’s files, and read again',
  (family) => {
    const folder = join(GOLDEN, family, 'base');
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as HfConfig;
    const base = mapSafetensors(join(folder, 'model.safetensors'));
    const model = buildModel(config, base.tensors, { dtype: 'f32', quantization: null });
    const whole = attachMethod(model, null, { run: 1, seed: 0 });
    const dir = mkdtempSync(join(tmpdir(), 'graft-names-'));
    try {
      const tokenizerFiles = { tokenizerJson: '{}', tokenizerConfig: {} } as never;
      const task = taskFor('causal_lm').peft;
      const facts = { base: { config, tokenizerFiles }, baseName: '', task, peft: null };
      writeAdapter(dir, whole, facts);
      const written = mapSafetensors(join(dir, 'model.safetensors'));
      expect([...written.tensors.keys()].sort()).toEqual([...base.tensors.keys()].sort());
      for (const [name, tensor] of written.tensors)
        expect(tensor.toArray(), name).toEqual(base.tensors.get(name)?.toArray());
      written.close();
      const stored = readAdapter(dir);
      expect([...stored.tensors.keys()].sort()).toEqual([...whole.parameters.keys()].sort());
      for (const [name, parameter] of whole.parameters)
        expect(stored.tensors.get(name)?.toArray(), name).toEqual(parameter.toArray());
      stored.dispose();
    } finally {
      rmSync(dir, { recursive: true });
      whole.detach();
      model.dispose();
      base.close();
    }
  },
);
