// Adapters of every method on a model without its head: they are saved with the module names of AutoModel,
// and loading them yields the same values.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { copy_, mapSafetensors, noGrad, setThreads, tensor, tidy } from '@graft/kernels';
import {
  attachMethod,
  buildModel,
  methods,
  readAdapter,
  taskFor,
  writeAdapter,
  type HfConfig,
  type Model,
} from '@graft/peft-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { casesOf, difference, floats, HERE, json, values } from './golden-case.js';

type Config = { readonly peft_type: string; readonly [field: string]: unknown };

const FAMILY = 'llama';

const task = taskFor('feature_extraction').peft;
const tokenize = (text: string): number[] => [...text].map((letter) => letter.charCodeAt(0) % 90);

/**
 * One golden config per method, and for AdaLoRA also a pruned one. None trains the head, because the model
 * has none. ADAPTION_PROMPT and XLORA only support models that generate text.
 */
const CONFIGS: (readonly [string, Config])[] = methods
  .filter(({ name }) => !['FULL', 'ADAPTION_PROMPT', 'XLORA'].includes(name))
  .flatMap(({ name }) => {
    const all = casesOf(FAMILY)
      .filter((each) => each !== 'none' && each !== 'full')
      .map((each) => [each, json<Config>(FAMILY, each, 'adapter_config.json')] as const)
      .filter(([, one]) => one.peft_type === name && !JSON.stringify(one).includes('lm_head'));
    const pruned = all.filter(([, one]) => name === 'ADALORA' && one['rank_pattern'] !== null);
    return [...new Set([...all.slice(0, 1), ...pruned])];
  });
for (const pattern of [
  'model\\.layers\\.0\\..*_proj',
  'model.layers.1.self_attn.(q|(k|v))_proj',
  '.*v_proj',
])
  CONFIGS.push([pattern, { peft_type: 'LORA', r: 2, target_modules: pattern }]);

let model: Model;
let close: () => void;
const config = json<HfConfig>(FAMILY, 'base', 'config.json');
beforeAll(() => {
  setThreads(1);
  const file = mapSafetensors(join(HERE, FAMILY, 'base', 'model.safetensors'));
  model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
  close = () => {
    model.dispose();
    file.close();
  };
});
afterAll(() => close());

it('covers every method with goldens for this base', () => {
  expect(CONFIGS.length).toBeGreaterThan(methods.length - 4);
});

it.each(CONFIGS)('%s', (_, peft) => {
  const dir = mkdtempSync(join(tmpdir(), 'graft-headless-'));
  const made = attachMethod(model, peft, { run: 1, seed: 3, tokenize });
  try {
    [...made.parameters.values()].forEach((parameter, salt) => {
      const stirred = floats(parameter).map((x, i) => x + 0.1 * Math.sin(1.3 * i + salt));
      noGrad(() => copy_(parameter, tensor(stirred, [...parameter.shape])));
    });
    const base = { config, tokenizerFiles: null as never };
    writeAdapter(dir, made, { base, baseName: 'x', task, peft });
    const names = [...values(relative(HERE, join(dir, 'adapter_model.safetensors'))).keys()];
    for (const name of names) expect(name).not.toContain('base_model.model.model.');
    expect(readFileSync(join(dir, 'adapter_config.json'), 'utf8')).not.toContain('"model.');

    const stored = readAdapter(dir, config);
    const again = attachMethod(model, stored.peft, { run: 2, seed: 3, tokenize });
    tidy(() => again.load(stored.tensors));
    const [one, two] = [made, again].map((adapter) =>
      tidy(() => new Map([...adapter.exported()].map(([key, value]) => [key, floats(value)]))),
    );
    expect([...two!.keys()].sort()).toEqual([...one!.keys()].sort());
    for (const [key, value] of one!)
      expect(difference(value, two!.get(key)!), key).toBeLessThan(1e-6);
    again.detach();
    stored.dispose();
  } finally {
    made.detach();
    rmSync(dir, { recursive: true });
  }
});
