import type { CreateJob } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { refusal } from '../../test/refusal.js';
import { checkPeft } from './check-peft.js';
import type { PeftConfig } from '../methods/frame/config.js';
import { resolveSpec } from './resolve-spec.js';

const body: CreateJob = { model: 'smollm2', training_file: 'file-1' };

describe('checkPeft rejects', () => {
  it.each<[PeftConfig, string, string, RegExp]>([
    [{ peft_type: 'LORA', rank: 3 }, 'unknown_parameter', 'peft.rank', /no field "rank"/],
    [
      { peft_type: 'LORA', alpha: 3 },
      'unknown_parameter',
      'peft.alpha',
      /did you mean peft.lora_alpha\?/,
    ],
    [
      { peft_type: 'LORA', learning_rate: 3 },
      'unknown_parameter',
      'peft.learning_rate',
      /did you mean graft.learning_rate\?/,
    ],
    [{ peft_type: 'LORA', __proto__x: 3 }, 'unknown_parameter', 'peft.__proto__x', /no field/],
    [{ peft_type: 'LORO' }, 'invalid_value', 'peft.peft_type', /did you mean LORA\?/],
    [{ peft_type: 'LORA', r: 0 }, 'invalid_value', 'peft.r', /got 0/],
    [{ peft_type: 'LORA', r: 2.5 }, 'invalid_value', 'peft.r', /got 2.5/],
    [{ peft_type: 'LORA', lora_dropout: 1 }, 'invalid_value', 'peft.lora_dropout', /got 1/],
    [
      { peft_type: 'LORA', target_modules: [] },
      'invalid_value',
      'peft.target_modules',
      /must not be empty/,
    ],
    [
      { peft_type: 'LORA', target_modules: ['c_attn'] },
      'invalid_value',
      'peft.target_modules',
      /q_proj, k_proj/,
    ],
    [
      { peft_type: 'LORA', target_modules: '(?!lm_head).*' },
      'invalid_value',
      'peft.target_modules',
      /has a look-ahead, which is not supported in peft.target_modules; list the modules/,
    ],
    [
      { peft_type: 'LORA', exclude_modules: '(.).*\\1' },
      'invalid_value',
      'peft.exclude_modules',
      /a back-reference/,
    ],
    [
      { peft_type: 'LORA', layers_to_transform: 1, layers_pattern: ['h', '.{999}{9}'] },
      'invalid_value',
      'peft.layers_pattern',
      /not a regular expression/,
    ],
    [
      // as parsed from a file: `__proto__` is an own field
      JSON.parse('{ "peft_type": "LORA", "__proto__": { "use_dora": true } }') as PeftConfig,
      'unknown_parameter',
      'peft.__proto__',
      /LORA has no field "__proto__"/,
    ],
    [
      { peft_type: 'LORA', rank_pattern: { '(?<=h)q': 4 } },
      'invalid_value',
      'peft.rank_pattern',
      /a look-behind/,
    ],
    [
      { peft_type: 'LORA', target_modules: '(' },
      'invalid_value',
      'peft.target_modules',
      /not a regular expression/,
    ],
    [
      { peft_type: 'LORA', target_modules: 'all-linear', layers_to_transform: [0] },
      'invalid_value',
      'peft.layers_to_transform',
      /list/,
    ],
    [
      { peft_type: 'LORA', layers_pattern: 'layers' },
      'invalid_value',
      'peft.layers_pattern',
      /requires/,
    ],
    [{ peft_type: 'LORA', use_qalora: true }, 'unsupported', 'peft.use_qalora', /leave it out/],
    [{ peft_type: 'LORA', task_type: 'IMAGE_CLS' }, 'unsupported', 'peft.task_type', /CAUSAL_LM/],
    [
      { peft_type: 'LORA', rank_pattern: { q_proj: 0 } },
      'invalid_value',
      'peft.rank_pattern.q_proj',
      /got/,
    ],
    [
      { peft_type: 'PROMPT_TUNING', prompt_tuning_init: 'TEXT' },
      'invalid_value',
      'peft.prompt_tuning_init_text',
      /TEXT/,
    ],
    [
      { peft_type: 'PROMPT_TUNING', num_virtual_tokens: 0 },
      'invalid_value',
      'peft.num_virtual_tokens',
      /got 0/,
    ],
    [
      { peft_type: 'PREFIX_TUNING', init_weights: 'ones' },
      'invalid_value',
      'peft.init_weights',
      /got "ones"/,
    ],
  ])('%j', (peft, code, param, message) => {
    const found = refusal(() => checkPeft(peft, 'llama'));
    expect(found).toMatchObject({ code, param });
    expect(found.message).toMatch(message);
  });

  it('patterns whose total size is too large, naming the field', () => {
    const patterns = (letter: string): Record<string, number> =>
      Object.fromEntries(
        Array.from({ length: 10 }, (_, n) => [`${letter}.{${300 + n}}.*${n}`, 8] as const),
      );
    const [rank_pattern, alpha_pattern] = [patterns('q'), patterns('v')];
    expect(checkPeft({ peft_type: 'LORA', rank_pattern }, 'llama')).toMatchObject({ rank_pattern });
    const found = refusal(() =>
      checkPeft({ peft_type: 'LORA', rank_pattern, alpha_pattern }, 'llama'),
    );
    expect(found).toMatchObject({ code: 'invalid_value', param: 'peft.alpha_pattern' });
    expect(found.message).toMatch(/^alpha_pattern makes the patterns of this job too large/);
    const one = { peft_type: 'LORA', target_modules: '(q|k).{900}'.repeat(4), rank_pattern };
    expect(refusal(() => checkPeft(one, 'llama'))).toMatchObject({ param: 'peft.rank_pattern' });
    // the number of patterns counts, regardless of their length
    const short = Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`[${n}].`, 8]));
    expect(
      refusal(() =>
        checkPeft({ peft_type: 'LORA', rank_pattern: short, alpha_pattern: short }, 'llama'),
      ),
    ).toMatchObject({ param: 'peft.alpha_pattern' });
  });

  it('no config with a rank and scale for each linear layer of a large model', () => {
    const paths = Array.from({ length: 80 }, (_, n) => `model.layers.${n}.mlp`).flatMap((layer) =>
      Array.from({ length: 7 }, (_, n) => `${layer}.linear_${n}`),
    );
    const each = Object.fromEntries(paths.map((path) => [path, 4]));
    const peft = { peft_type: 'LORA', rank_pattern: each, alpha_pattern: each };
    expect(checkPeft(peft, 'llama')).toMatchObject({ rank_pattern: each });
  });

  it('an unknown model type', () => {
    expect(refusal(() => checkPeft({ peft_type: 'LORA' }, 'mamba'))).toMatchObject({
      code: 'invalid_model',
      param: 'model',
    });
  });
});

describe('an option that has no effect', () => {
  const XLORA = { peft_type: 'XLORA', adapters: { 0: 'ft:a', 1: 'ft:b' } };
  const create = (peft: object, task = 'causal_lm', warmStart = false) =>
    resolveSpec(
      { ...body, peft: peft as PeftConfig, graft: { task } },
      { trainingRecords: 100, warmStart },
    );

  it.each([
    [{ ...XLORA, xlora_size: 64 }, 'causal_lm', 'xlora_size', 'a classifier of one linear'],
    [{ ...XLORA, xlora_dropout_p: 0.5 }, 'causal_lm', 'xlora_dropout_p', 'a classifier of one'],
    [
      { peft_type: 'SHADOW', auxiliary_loss_weight: 0.3 },
      'dpo',
      'auxiliary_loss_weight',
      'task dpo',
    ],
    [{ peft_type: 'SHADOW', auxiliary_loss_weight: 1 }, 'kto', 'auxiliary_loss_weight', 'task kto'],
  ])('is rejected: %j in %s', (peft, task, field, where) => {
    const found = refusal(() => create(peft, task));
    expect(found).toMatchObject({ code: 'unsupported', param: `peft.${field}` });
    expect(found.message).toContain(`${field} has no effect in ${where}`);
    expect(found.message).toMatch(/, as in PEFT; remove it$/);
    // PEFT's files may have this config.
    expect(create(peft, task, true).peft).toMatchObject(peft);
  });

  it.each([
    [{ ...XLORA, xlora_size: 2048, xlora_dropout_p: 0 }, 'causal_lm'],
    [{ ...XLORA, xlora_depth: 2, xlora_size: 64, xlora_dropout_p: 0.5 }, 'causal_lm'],
    [{ peft_type: 'SHADOW', auxiliary_loss_weight: 0.3 }, 'causal_lm'],
    [{ peft_type: 'SHADOW', auxiliary_loss_weight: 0 }, 'dpo'],
    [{ peft_type: 'SHADOW' }, 'dpo'],
  ])('is accepted if it has an effect or its default value: %j in %s', (peft, task) => {
    expect(create(peft, task).peft).toMatchObject(peft);
  });
});
