import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { DomainError, GraftOptions } from '@graft/contracts';
import type { CreateJob } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { catalog, checkPeft, resolveSpec } from './catalog.js';
import type { PeftConfig } from './catalog.js';
import { parsePeft } from './methods/frame/config.js';
import { methods } from './methods/registry.js';

const body: CreateJob = { model: 'smollm2', training_file: 'file-1' };

function refusal(fn: () => unknown): { code: string; param: string | null; message: string } {
  try {
    fn();
  } catch (error) {
    if (error instanceof DomainError)
      return { code: error.code, param: error.param, message: error.message };
    throw error;
  }
  throw new Error('was accepted');
}

describe('the catalog', () => {
  it('loads no native code', () => {
    const entry = fileURLToPath(
      new URL('./catalog.js', import.meta.resolve('@graft/peft-core/catalog')),
    );
    const script = `
      const { catalog, checkPeft } = await import(${JSON.stringify(entry)});
      catalog(); checkPeft({ peft_type: 'LORA' }, 'llama');
      const loaded = process.report.getReport().sharedObjects.filter((path) => /torch|kernels|tokenizers|[.]node$/.test(path));
      console.log(JSON.stringify(loaded));`;
    const out = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
    });
    expect(JSON.parse(out)).toEqual([]);
  });

  /** Options that are of no use to a run, or are left out of a Spec that does not need them. */
  const OUTSIDE_SPEC = [
    'pool',
    'priority',
    'load_best_model_at_end',
    'measure_forgetting',
    'sample_max_tokens',
    'loss_ledger',
  ];

  it('says the defaults of training options that a job gets', () => {
    const { properties } = z.toJSONSchema(GraftOptions, { io: 'input' });
    const said = Object.entries(properties ?? {}).flatMap(([name, field]) =>
      typeof field === 'object' && field.default !== undefined && !OUTSIDE_SPEC.includes(name)
        ? [[name, field.default] as const]
        : [],
    );
    expect(said.length).toBeGreaterThan(10);
    expect(resolveSpec(body, { trainingRecords: 100 })).toMatchObject(Object.fromEntries(said));
  });

  it('describes every field of every method', () => {
    const described = catalog().methods;
    expect(described.map(({ peft_type }) => peft_type)).toEqual(methods.map(({ name }) => name));
    for (const { peft_type, schema } of described) {
      for (const [field, property] of Object.entries(
        (schema['properties'] ?? {}) as Record<string, { description?: string }>,
      )) {
        expect(property.description, `${peft_type}.${field}`).toBeTruthy();
      }
    }
  });

  /** Fields without which no job of a method is made. */
  const NEEDED: Readonly<Record<string, object>> = {
    CPT: { cpt_token_ids: [5, 6], cpt_tokens_type_mask: [1, 4] },
  };

  it('says the defaults that a field left out of a job gets', () => {
    for (const { peft_type, schema } of catalog().methods) {
      if (peft_type === 'FULL') continue;
      const needed = NEEDED[peft_type] ?? {};
      const peft = { peft_type, ...needed };
      const spec = resolveSpec({ ...body, peft }, { trainingRecords: 100 });
      const said = Object.entries(
        schema['properties'] as Record<string, { default?: unknown }>,
      ).flatMap(([name, field]) => ('default' in field ? [[name, field.default] as const] : []));
      expect(spec.peft, peft_type).toMatchObject({ ...Object.fromEntries(said), ...needed });
    }
  });

  it("accepts PEFT's own files, and its own output again", () => {
    for (const name of ['lora', 'lora-dora', 'prompt', 'p-tuning-lstm', 'prefix-projection']) {
      const path = new URL(
        `../../../test/golden/llama/${name}/adapter_config.json`,
        import.meta.url,
      );
      const once = checkPeft(JSON.parse(readFileSync(path, 'utf8')) as PeftConfig, 'llama');
      expect(checkPeft(once, 'llama')).toEqual(once);
    }
  });
});

describe('a PEFT config is refused by field', () => {
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
    [{ peft_type: 'LORO' }, 'invalid_value', 'peft.peft_type', /LORA, PROMPT_TUNING/],
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
      // as a file has it: a field of its own
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

  it('patterns that are too large together, by the field that makes them so', () => {
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
    // however short each of them is
    const short = Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`[${n}].`, 8]));
    expect(
      refusal(() =>
        checkPeft({ peft_type: 'LORA', rank_pattern: short, alpha_pattern: short }, 'llama'),
      ),
    ).toMatchObject({ param: 'peft.alpha_pattern' });
  });

  it('no rank and scale for each linear of a large model', () => {
    const paths = Array.from({ length: 80 }, (_, n) => `model.layers.${n}.mlp`).flatMap((layer) =>
      Array.from({ length: 7 }, (_, n) => `${layer}.linear_${n}`),
    );
    const each = Object.fromEntries(paths.map((path) => [path, 4]));
    const peft = { peft_type: 'LORA', rank_pattern: each, alpha_pattern: each };
    expect(checkPeft(peft, 'llama')).toMatchObject({ rank_pattern: each });
  });

  it('a model type that is not known', () => {
    expect(refusal(() => checkPeft({ peft_type: 'LORA' }, 'mamba'))).toMatchObject({
      code: 'invalid_model',
      param: 'model',
    });
  });
});

describe('an option that would do nothing', () => {
  const XLORA = { peft_type: 'XLORA', adapters: { 0: 'ft:a', 1: 'ft:b' } };
  const create = (peft: object, task = 'causal_lm', begun = false) =>
    resolveSpec(
      { ...body, peft: peft as PeftConfig, graft: { task } },
      { trainingRecords: 100, begun },
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
  ])('is refused: %j in %s', (peft, task, field, where) => {
    const found = refusal(() => create(peft, task));
    expect(found).toMatchObject({ code: 'unsupported', param: `peft.${field}` });
    expect(found.message).toContain(`${field} has no part in ${where}`);
    expect(found.message).toMatch(/, in PEFT neither; leave it out$/);
    // As a file of PEFT's may have it.
    expect(create(peft, task, true).peft).toMatchObject(peft);
  });

  it.each([
    [{ ...XLORA, xlora_size: 2048, xlora_dropout_p: 0 }, 'causal_lm'],
    [{ ...XLORA, xlora_depth: 2, xlora_size: 64, xlora_dropout_p: 0.5 }, 'causal_lm'],
    [{ peft_type: 'SHADOW', auxiliary_loss_weight: 0.3 }, 'causal_lm'],
    [{ peft_type: 'SHADOW', auxiliary_loss_weight: 0 }, 'dpo'],
    [{ peft_type: 'SHADOW' }, 'dpo'],
  ])('is none where it acts, or has its default: %j in %s', (peft, task) => {
    expect(create(peft, task).peft).toMatchObject(peft);
  });
});

describe('a Spec', () => {
  const peftOf = (peft: CreateJob['peft']) =>
    resolveSpec({ ...body, ...(peft === undefined ? {} : { peft }) }, { trainingRecords: 100 })
      .peft;

  it('has the same LoRA whether peft is left out or only its fields are', () => {
    expect(peftOf({ peft_type: 'LORA' })).toEqual(peftOf(undefined));
    expect(peftOf({ peft_type: 'LORA' })).toMatchObject({
      r: 16,
      lora_alpha: 32,
      target_modules: 'all-linear',
    });
  });

  it("fills in LoRA's alpha from the rank, and takes what is given as it is", () => {
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
    // layers are chosen of a list of modules: PEFT's default stands
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

  it('has LoRA on all linears when nothing is asked for', () => {
    const spec = resolveSpec(body, { trainingRecords: 100 });
    expect(spec.peft).toMatchObject({
      peft_type: 'LORA',
      r: 16,
      lora_alpha: 32,
      target_modules: 'all-linear',
    });
    // for the 90 records that are not held out
    expect(spec).toMatchObject({
      batch_size: 2,
      n_epochs: 3,
      learning_rate: 2e-4,
      base_dtype: 'bf16',
      task: 'causal_lm',
    });
  });

  it('takes auto, multipliers and absolute rates', () => {
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

  it("takes the task's options, and refuses others by name", () => {
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

  it('has batches as large as the task needs', () => {
    const kto = { ...body, graft: { task: 'kto' } };
    expect(resolveSpec(kto, { trainingRecords: 12 }).batch_size).toBe(2);
    const alone = { ...kto, hyperparameters: { batch_size: 1 } };
    expect(refusal(() => resolveSpec(alone, { trainingRecords: 12 }))).toMatchObject({
      code: 'invalid_value',
      param: 'hyperparameters.batch_size',
      message: expect.stringContaining('must be at least 2, got 1'),
    });
  });

  it('has the defaults that the catalogue names', () => {
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

  it('is full fine-tuning with peft null, and not on a quantised base', () => {
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
  ])('is refused what PEFT does not find there: %j', (peft, param, message) => {
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

  it('picks layers by their list’s name', () => {
    const peft = { target_modules: ['q_proj'], layers_to_transform: [0], layers_pattern: 'layers' };
    expect(embed(peft).peft).toMatchObject(peft);
  });

  it('needs a decoder or an encoder', () => {
    const { message } = refusal(() => embed({}, 't5'));
    expect(message).toMatch(/trains a decoder alone or an encoder alone.*use seq_2_seq_lm/);
  });
});

describe('a start that looks at data, or wants weights as they were trained', () => {
  const start = (init: string, more: object = {}): CreateJob['peft'] => ({
    peft_type: 'LORA',
    init_lora_weights: init,
    ...more,
  });
  const resolve = (peft: CreateJob['peft'], graft: CreateJob['graft'] = {}, begun = false) =>
    resolveSpec({ ...body, peft, graft }, { trainingRecords: 10, modelType: 'llama', begun });

  it.each([
    ['corda', {}],
    ['lora_ga', {}],
    ['loftq', { loftq_config: { loftq_bits: 4 } }],
    ['pissa', {}],
    ['pissa_niter_4', {}],
    ['mica', {}],
  ])('%s is refused on a base that is packed, as in PEFT', (init, more) => {
    const found = refusal(() => resolve(start(init, more), { quantization: 'nf4' }));
    expect(found).toMatchObject({ code: 'unsupported', param: 'peft.init_lora_weights' });
    expect(found.message).toContain('needs the weights as they were trained');
    expect(resolve(start(init, more)).peft).toMatchObject({ init_lora_weights: init });
  });

  it('PSOFT is refused on a base that is packed, and OLoRA taken, as in PEFT', () => {
    const found = refusal(() => resolve({ peft_type: 'PSOFT' }, { quantization: 'nf4' }));
    expect(found).toMatchObject({ code: 'unsupported', param: 'peft.peft_type' });
    expect(found.message).toContain('PSOFT needs the weights as they were trained');
    expect(resolve(start('olora'), { quantization: 'nf4' }).quantization).toBe('nf4');
  });

  it('eva is not, and asks which rows are learnt only of tasks that know', () => {
    expect(resolve(start('eva'), { quantization: 'nf4' }).quantization).toBe('nf4');
    const dpo = { task: 'dpo' };
    const found = refusal(() => resolve(start('eva'), dpo));
    expect(found.param).toBe('peft.eva_config.use_label_mask');
    expect(found.message).toContain('set eva_config.use_label_mask to false');
    const masked = start('eva', { eva_config: { use_label_mask: false } });
    expect(resolve(masked, dpo).task).toBe('dpo');
    // from an adapter nothing is looked at
    expect(resolve(start('eva'), dpo, true).task).toBe('dpo');
  });

  it.each([
    ['eva_config', { rho: 2 }],
    ['corda_config', {}],
    ['lora_ga_config', { scale: 'unit' }],
    ['loftq_config', { loftq_bits: 4 }],
  ])('%s without its start is refused', (field, value) => {
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
  ])('refuses %j by name', (fields, param) => {
    const peft = { peft_type: 'LORA', ...fields } as CreateJob['peft'];
    expect(refusal(() => resolve(peft)).param).toBe(param);
  });
});
