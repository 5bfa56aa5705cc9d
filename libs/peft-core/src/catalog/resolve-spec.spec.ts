import type { CreateJob } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { refusal } from '../../test/refusal.js';
import { catalog } from '../catalog.js';
import { parsePeft } from '../methods/frame/config.js';
import { resolveSpec } from './resolve-spec.js';

const body: CreateJob = { model: 'smollm2', training_file: 'file-1' };

describe('a Spec', () => {
  const peftOf = (peft: CreateJob['peft']) =>
    resolveSpec({ ...body, ...(peft === undefined ? {} : { peft }) }, { trainingRecords: 100 })
      .peft;

  it('has the same LoRA without peft and with a peft without fields', () => {
    expect(peftOf({ peft_type: 'LORA' })).toEqual(peftOf(undefined));
    expect(peftOf({ peft_type: 'LORA' })).toMatchObject({
      r: 16,
      lora_alpha: 32,
      target_modules: 'all-linear',
    });
  });

  it("derives LoRA's alpha from the rank unless it is set", () => {
    expect(peftOf({ peft_type: 'LORA', r: 4 })).toMatchObject({ r: 4, lora_alpha: 8 });
    expect(peftOf({ peft_type: 'LORA', lora_alpha: 5 })).toMatchObject({ r: 16, lora_alpha: 5 });
    expect(peftOf({ peft_type: 'LORA', target_modules: null })).toMatchObject({
      target_modules: null,
    });
    expect(peftOf({ peft_type: 'LORA', r: 8, target_modules: ['q_proj'] })).toMatchObject({
      r: 8,
      lora_alpha: 16,
      target_modules: ['q_proj'],
    });
    // layers are selected within a module list, so PEFT's default applies
    expect(peftOf({ peft_type: 'LORA', layers_to_transform: [0] })).toMatchObject({
      target_modules: null,
    });
    expect(refusal(() => peftOf({ peft_type: 'LORA', r: 'x' }))).toMatchObject({ param: 'peft.r' });
  });

  it("reads a file's config with PEFT's own defaults", () => {
    expect(parsePeft({ peft_type: 'LORA' }).options).toMatchObject({
      r: 8,
      lora_alpha: 8,
      target_modules: null,
    });
  });

  it('defaults to LoRA on all linear layers', () => {
    const spec = resolveSpec(body, { trainingRecords: 100 });
    expect(spec.peft).toMatchObject({
      peft_type: 'LORA',
      r: 16,
      lora_alpha: 32,
      target_modules: 'all-linear',
    });
    // computed for the 90 records that are not held out
    expect(spec).toMatchObject({
      batch_size: 2,
      n_epochs: 3,
      learning_rate: 2e-4,
      base_dtype: 'bf16',
      task: 'causal_lm',
    });
  });

  it('accepts auto, multipliers and absolute learning rates', () => {
    const supervised = {
      hyperparameters: { batch_size: 'auto', n_epochs: 2, learning_rate_multiplier: 3 },
    } as const;
    const peft = { peft_type: 'PROMPT_TUNING' };
    const spec = resolveSpec(
      { ...body, peft, method: { type: 'supervised', supervised } },
      { trainingRecords: 3 },
    );
    expect(spec.batch_size).toBe(1);
    expect(spec.n_epochs).toBe(2);
    expect(spec.learning_rate).toBeCloseTo(9e-2);
    expect(
      resolveSpec({ ...body, graft: { learning_rate: 0.5 } }, { trainingRecords: 3 }).learning_rate,
    ).toBe(0.5);
  });

  it('accepts the options of the task and rejects others by name', () => {
    expect(
      resolveSpec({ ...body, graft: { task_options: {} } }, { trainingRecords: 3 }),
    ).toMatchObject({ task: 'causal_lm', task_options: {} });
    const unknown = { ...body, graft: { task_options: { gamma: 1 } } };
    expect(refusal(() => resolveSpec(unknown, { trainingRecords: 3 }))).toMatchObject({
      code: 'unknown_parameter',
      param: 'graft.task_options.gamma',
      message: expect.stringContaining('task causal_lm has no field "gamma"'),
    });
  });

  it('uses batches of at least the size that the task needs', () => {
    const kto = { ...body, graft: { task: 'kto' } };
    expect(resolveSpec(kto, { trainingRecords: 12 }).batch_size).toBe(2);
    const alone = { ...kto, hyperparameters: { batch_size: 1 } };
    expect(refusal(() => resolveSpec(alone, { trainingRecords: 12 }))).toMatchObject({
      code: 'invalid_value',
      param: 'hyperparameters.batch_size',
      message: expect.stringContaining('must be at least 2, got 1'),
    });
  });

  it('has the defaults of the catalog', () => {
    const spec = resolveSpec(body, { trainingRecords: 3 });
    const { properties } = catalog().graft_schema as {
      properties: Record<string, { default?: unknown }>;
    };
    const defaults = Object.entries(properties).filter(
      ([name, { default: value }]) => value !== undefined && name in spec,
    );
    expect(defaults.length).toBeGreaterThan(12);
    for (const [name, { default: value }] of defaults)
      expect(spec[name as keyof typeof spec], name).toEqual(value);
  });

  it('is full fine-tuning if peft is null, except on a quantized base model', () => {
    expect(resolveSpec({ ...body, peft: null }, { trainingRecords: 20_000 })).toMatchObject({
      peft: null,
      n_epochs: 1,
    });
    const quantised = { ...body, graft: { quantization: 'nf5' } };
    expect(refusal(() => resolveSpec(quantised, { trainingRecords: 1 })).param).toBe(
      'graft.quantization',
    );
    const task = { ...body, graft: { task: 'dance' } };
    expect(refusal(() => resolveSpec(task, { trainingRecords: 1 }))).toMatchObject({
      param: 'graft.task',
    });
  });
});

describe('a job that trains a model without its head', () => {
  const embed = (peft: Record<string, unknown>, modelType = 'llama', task = 'feature_extraction') =>
    resolveSpec(
      { model: 'm', training_file: 'f', peft: { peft_type: 'LORA', ...peft }, graft: { task } },
      { trainingRecords: 10, modelType },
    );

  it('has the options of sentence-transformers’ loss', () => {
    expect(embed({}).task_options).toEqual({
      scale: 20,
      similarity_fct: 'cos_sim',
      pooling_mode: 'mean',
    });
  });

  it.each([
    [{ target_modules: ['q_proj', 'lm_head'] }, 'peft.target_modules', /without its head/],
    [
      { target_modules: ['q_proj'], modules_to_save: ['lm_head'] },
      'peft.modules_to_save',
      /lm_head/,
    ],
    [
      { target_modules: ['q_proj'], layers_to_transform: [0] },
      'peft.layers_to_transform',
      /"layers_pattern": "layers"/,
    ],
    [{ target_modules: 'model\\.a|model\\.b' }, 'peft.target_modules', /or with \.\*/],
    [{ target_modules: 'layers\\.0.*' }, 'peft.target_modules', /begins with model\. or with \.\*/],
  ])('rejects target modules that PEFT does not find: %j', (peft, param, message) => {
    const found = refusal(() => embed(peft));
    expect(found).toMatchObject({ code: 'invalid_value', param });
    expect(found.message).toMatch(message);
  });

  it.each(['vision_model\\..*(k_proj|fc1|fc2)', '.*encoder.*q_proj', '(?:.*q_proj)|(?:.*fc1)'])(
    'takes any pattern where PEFT has whole paths: %s',
    (pattern) => {
      const { peft } = embed({ target_modules: pattern }, 'siglip', 'image_feature_extraction');
      expect(peft).toMatchObject({ target_modules: pattern });
    },
  );

  it('selects layers by the name of their module list', () => {
    const peft = { target_modules: ['q_proj'], layers_to_transform: [0], layers_pattern: 'layers' };
    expect(embed(peft).peft).toMatchObject(peft);
  });

  it('requires a decoder or an encoder', () => {
    const { message } = refusal(() => embed({}, 't5'));
    expect(message).toMatch(
      /requires a decoder-only model or an encoder-only model.*use seq_2_seq_lm/,
    );
  });
});

describe('an initialization that needs data or unquantized weights', () => {
  const start = (init: string, more: object = {}): CreateJob['peft'] => ({
    peft_type: 'LORA',
    init_lora_weights: init,
    ...more,
  });
  const resolve = (peft: CreateJob['peft'], graft: CreateJob['graft'] = {}, warmStart = false) =>
    resolveSpec({ ...body, peft, graft }, { trainingRecords: 10, modelType: 'llama', warmStart });

  it.each([
    ['corda', {}],
    ['lora_ga', {}],
    ['loftq', { loftq_config: { loftq_bits: 4 } }],
    ['pissa', {}],
    ['pissa_niter_4', {}],
    ['mica', {}],
  ])('%s is rejected on a quantized base model, as in PEFT', (init, more) => {
    const found = refusal(() => resolve(start(init, more), { quantization: 'nf4' }));
    expect(found).toMatchObject({ code: 'unsupported', param: 'peft.init_lora_weights' });
    expect(found.message).toContain('requires unquantized weights');
    expect(resolve(start(init, more)).peft).toMatchObject({ init_lora_weights: init });
  });

  it('rejects PSOFT on a quantized base model and accepts OLoRA, like PEFT', () => {
    const found = refusal(() => resolve({ peft_type: 'PSOFT' }, { quantization: 'nf4' }));
    expect(found).toMatchObject({ code: 'unsupported', param: 'peft.peft_type' });
    expect(found.message).toContain('PSOFT requires unquantized weights');
    expect(resolve(start('olora'), { quantization: 'nf4' }).quantization).toBe('nf4');
  });

  it('accepts EVA there; its label mask requires a task that reports targets', () => {
    expect(resolve(start('eva'), { quantization: 'nf4' }).quantization).toBe('nf4');
    const dpo = { task: 'dpo' };
    const found = refusal(() => resolve(start('eva'), dpo));
    expect(found.param).toBe('peft.eva_config.use_label_mask');
    expect(found.message).toContain('set eva_config.use_label_mask to false');
    const masked = start('eva', { eva_config: { use_label_mask: false } });
    expect(resolve(masked, dpo).task).toBe('dpo');
    // a job that starts from an adapter does not observe the data
    expect(resolve(start('eva'), dpo, true).task).toBe('dpo');
  });

  it.each([
    ['eva_config', { rho: 2 }],
    ['corda_config', {}],
    ['lora_ga_config', { scale: 'unit' }],
    ['loftq_config', { loftq_bits: 4 }],
  ])('%s is rejected without its initialization', (field, value) => {
    const found = refusal(() => resolve(start('gaussian', { [field]: value })));
    expect(found.param).toBe(`peft.${field}`);
  });

  it.each([
    [{ init_lora_weights: 'loftq' }, 'peft.loftq_config'],
    [{ init_lora_weights: 'eva', eva_config: { rho: 0.5 } }, 'peft.eva_config.rho'],
    [{ init_lora_weights: 'eva', eva_config: { label_mask_value: 0 } }, 'peft.eva_config.label_mask_value'], // prettier-ignore
    [{ init_lora_weights: 'corda', corda_config: { cache_file: '/tmp/x' } }, 'peft.corda_config.cache_file'], // prettier-ignore
    [{ init_lora_weights: 'corda', corda_config: { use_float16_for_covariance: true } }, 'peft.corda_config.use_float16_for_covariance'], // prettier-ignore
    [{ init_lora_weights: 'lora_ga', lora_bias: true }, 'peft.lora_bias'],
  ])('rejects %j by name', (fields, param) => {
    const peft = { peft_type: 'LORA', ...fields } as CreateJob['peft'];
    expect(refusal(() => resolve(peft)).param).toBe(param);
  });
});
