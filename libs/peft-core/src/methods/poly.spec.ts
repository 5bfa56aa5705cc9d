import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { copy_, mapSafetensors, mul, noGrad, tidy } from '@graft/kernels';
import { expect, it } from 'vitest';
import { attachMethod } from './frame/attach-method.js';
import { packRows } from '../tasks/batches/pack.js';
import type { Tokenizer } from '../data/text/tokenizer.js';
import { Generation } from '../generate/generation.js';
import { readAdapter } from '../io/adapter/peft-adapter.js';
import type { HfConfig } from '../nn/hf-files.js';
import { buildModel } from '../models/registry.js';
import { footprintOf } from './frame/base-footprint.js';
import { promptTasks } from './frame/config.js';
import { stepTogether } from '../generate/step-together.js';

const LLAMA = {
  model_type: 'llama',
  vocab_size: 32,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
};
const GOLDEN = join(import.meta.dirname, '../../../../test/golden');
function opened(family: string) {
  const path = join(GOLDEN, family, 'base');
  const config = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')) as HfConfig;
  const file = mapSafetensors(join(path, 'model.safetensors'));
  const model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
  const close = (): void => {
    model.dispose();
    file.close();
  };
  return { model, close };
}

const parameters = (peft: object): number =>
  footprintOf({ peft_type: 'POLY', ...peft }, LLAMA).trainableParameters;

it('has shared skills, and mixing weights for each task', () => {
  const linear = (tasks: number, skills: number, splits: number, r: number): number =>
    skills * r * (16 + 16) + tasks * splits * skills;
  expect(parameters({})).toBe(4 * linear(1, 4, 1, 8));
  expect(parameters({ n_tasks: 5, n_skills: 3, n_splits: 4, r: 2 })).toBe(4 * linear(5, 3, 4, 2));
  expect(promptTasks({ peft_type: 'POLY', n_tasks: 5 })).toBe(5);
});

it.each<[object, string, RegExp]>([
  [{ n_splits: 3 }, 'n_splits', /divides the features of .*q_proj, 16 in and 16 out, got 3/],
  [{ target_modules: ['lm_head'] }, 'target_modules', /does not support lm_head/],
  [{ poly_type: 'mhr' }, 'poly_type', /poly_type/],
  [{ n_skills: 0 }, 'n_skills', /must be at least 1/],
])('rejects %j', (peft, field, message) => {
  expect(() => parameters(peft)).toThrow(message);
  expect(() => parameters(peft)).toThrow(expect.objectContaining({ param: `peft.${field}` }));
});

it('generates for the requested task, alone and in a batch', () => {
  const { model, close } = opened('llama');
  const stored = readAdapter(join(GOLDEN, 'llama/poly'));
  const adapter = attachMethod(model, stored.peft, { run: 1, seed: 0 });
  adapter.load(stored.tensors);
  stored.dispose();
  // far apart, so that greedy completions differ
  for (const [name, one] of adapter.parameters) {
    const by = name.endsWith('module_logits') ? 5000 : 30;
    noGrad(() => tidy(() => copy_(one, mul(one, by))));
  }
  const cache = model.cache();
  const ids = { eosIds: [], decode: (of: number[]) => of.join(' ') } as unknown as Tokenizer;
  const base = { model, tokenizer: ids };
  const ask = (run: number | null, taskId: number | null): Generation =>
    new Generation(base, cache, {
      ...{ messages: null, prompt: null, promptTokens: [5, 17, 42], max_tokens: 8, stop: [] },
      ...{ run, task_id: taskId, temperature: 0, top_p: 1, seed: 0 },
    });
  const alone = [0, 1, 2].map((taskId) => {
    const answer = ask(1, taskId);
    while (!answer.done) answer.step();
    return answer.ids;
  });
  expect(new Set(alone.map(String)).size).toBeGreaterThan(1);
  const together = [2, 0, 1].map((taskId) => ask(1, taskId));
  while (together.some(({ done }) => !done)) stepTogether(base, cache, together);
  expect(together.map((answer) => answer.ids)).toEqual([alone[2], alone[0], alone[1]]);
  expect(() => ask(1, null)).toThrow('this model was trained for 3 tasks: say which, 0 to 2');
  expect(() => ask(1, 3)).toThrow('expected an integer from 0 to 2, got 3');
  adapter.detach();
  expect(() => ask(1, 0)).toThrow('this model has no tasks; leave it out');
  cache.dispose();
  close();
});

it('uses the task of the encoder’s rows in cross-attention', () => {
  const { model, close } = opened('t5');
  const peft = { peft_type: 'POLY', r: 2, n_tasks: 2, n_skills: 2, init_weights: false };
  const adapter = attachMethod(model, peft, { run: 1, seed: 4 });
  // far apart
  for (const [name, one] of adapter.parameters)
    if (name.endsWith('module_logits')) noGrad(() => tidy(() => copy_(one, mul(one, 5000))));
  const texts = [
    { source: [5, 17, 42, 8], target: [0, 7] },
    { source: [9, 3], target: [0, 11, 12, 6] },
  ];
  const hidden = (asked: readonly (readonly [text: number, taskId: number])[]) => {
    const pack = (part: 'source' | 'target') =>
      packRows(
        asked.map(([text, taskId]) => ({
          ...{ run: 1, taskId },
          tokens: Int32Array.from(texts[text]?.[part] ?? []),
        })),
      );
    const batch = { encoder: pack('source'), decoder: pack('target') };
    const ctx = { training: false, runs: new Map() };
    return noGrad(() =>
      tidy(() => [...(model.forward(batch, ctx).decoder.hidden.toArray() as Float32Array)]),
    );
  };
  const alone = [...hidden([[0, 0]]), ...hidden([[1, 1]])];
  const other = hidden([[1, 0]]);
  const apart = (a: readonly number[], b: readonly number[]): number =>
    Math.max(...a.map((value, i) => Math.abs(value - (b[i] as number))));
  expect(apart(other, alone.slice(-other.length))).toBeGreaterThan(1e-3);
  const both = hidden([[0, 0], [1, 1]]); // prettier-ignore
  expect(both).toHaveLength(alone.length);
  expect(apart(both, alone)).toBeLessThan(1e-5);
  adapter.detach();
  close();
});
