// Adapters on SigLIP's vision tower. PEFT's class also has a text tower and a linear layer in the attention
// of the pooling head, whose modules have the same names.
import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mapSafetensors, setThreads, tensor, tidy } from '@graft/kernels';
import {
  attachMethod,
  buildModel,
  readAdapter,
  taskFor,
  writeAdapter,
  writeSafetensors,
  type HfConfig,
} from '@graft/peft-core';
import { beforeAll, expect, it, onTestFinished } from 'vitest';
import { HERE, json } from './golden-case.js';

const FAMILY = 'siglip-head';
const config = json<HfConfig>(FAMILY, 'base', 'config.json');

beforeAll(() => setThreads(1));

/** Writes an initialized adapter and returns its folder. */
function written(
  peft: { readonly peft_type: string; readonly [field: string]: unknown },
  task = 'image_feature_extraction',
): string {
  const dir = mkdtempSync(join(tmpdir(), 'graft-siglip-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const file = mapSafetensors(join(HERE, FAMILY, 'base', 'model.safetensors'));
  const model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
  const adapter = attachMethod(model, peft, { run: 1, seed: 3 });
  writeAdapter(dir, adapter, {
    base: { config, tokenizerFiles: null },
    baseName: 'x',
    task: taskFor(task).peft,
    peft,
  });
  adapter.detach();
  model.dispose();
  file.close();
  return dir;
}

it.each<[readonly string[] | string, readonly string[]]>([
  [
    ['q_proj', 'fc1'],
    ['self_attn.q_proj', 'mlp.fc1'],
  ],
  ['.*(q_proj|fc1)', ['self_attn.q_proj', 'mlp.fc1']],
  [['out_proj'], ['self_attn.out_proj']],
])('writes full paths for %j, so that PEFT adapts nothing else', (target_modules, ends) => {
  const dir = written({ peft_type: 'LORA', r: 2, target_modules });
  const text = readFileSync(join(dir, 'adapter_config.json'), 'utf8');
  const { target_modules: names } = JSON.parse(text) as { target_modules: readonly string[] };
  for (const name of names) {
    expect(name).toMatch(/^vision_model\.(encoder|head\.mlp)\./);
    expect(ends.some((end) => name.endsWith(`.${end}`))).toBe(true);
  }
  expect(names.some((name) => name.endsWith(ends[0]!))).toBe(true);
});

it('keeps names for the classifier class, which has no text tower, except for out_proj', () => {
  const named = (target_modules: readonly string[]): readonly string[] => {
    const dir = written({ peft_type: 'LORA', r: 2, target_modules }, 'image_cls');
    const text = readFileSync(join(dir, 'adapter_config.json'), 'utf8');
    return (JSON.parse(text) as { target_modules: readonly string[] }).target_modules;
  };
  expect(named(['q_proj', 'fc1'])).toEqual(['q_proj', 'fc1']);
  expect(named(['out_proj']).every((name) => name.includes('.encoder.'))).toBe(true);
});

it('writes feedforward_modules like target modules', () => {
  const dir = written({
    peft_type: 'IA3',
    target_modules: ['k_proj', 'fc2'],
    feedforward_modules: ['fc2'],
  });
  const text = readFileSync(join(dir, 'adapter_config.json'), 'utf8');
  const fields = JSON.parse(text) as Record<string, readonly string[]>;
  const { target_modules: targets, feedforward_modules: inner } = fields;
  expect(inner).toEqual(targets!.filter((name) => name.endsWith('fc2')));
  expect(inner!.length).toBeGreaterThan(0);
});

it("reads an adapter of PEFT's with tensors for the other modules, without them", () => {
  const dir = written({ peft_type: 'LORA', r: 2, target_modules: ['q_proj', 'out_proj'] });
  const path = join(dir, 'adapter_model.safetensors');
  const read = (): string[] => {
    const { tensors, dispose } = readAdapter(dir, config);
    const names = [...tensors.keys()];
    dispose();
    return names;
  };
  const before = read();
  const file = mapSafetensors(path);
  tidy(() => {
    const more = [
      'text_model.encoder.layers.1.self_attn.q_proj.lora_A',
      'text_model.head.lora_B',
      'vision_model.head.attention.out_proj.lora_A',
    ].map((name) => [`base_model.model.${name}.weight`, tensor([1, 2], [1, 2])] as const);
    const all = new Map([...file.tensors, ...more]);
    writeSafetensors(join(dir, 'more.safetensors'), all, { format: 'pt' });
  });
  file.close();
  renameSync(join(dir, 'more.safetensors'), path);
  expect(read()).toEqual(before);
});
