import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { DomainError, GraftOptions } from '@graft/contracts';
import type { CreateJob } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { catalog, checkPeft, resolveSpec } from './catalog.js';
import type { PeftConfig } from './catalog.js';
import { parsePeft } from './methods/config.js';
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

  it('says the defaults of training options that a job gets', () => {
    const { properties } = z.toJSONSchema(GraftOptions, { io: 'input' });
    const said = Object.entries(properties ?? {}).flatMap(([name, field]) =>
      typeof field === 'object' &&
      field.default !== undefined &&
      !['pool', 'priority'].includes(name)
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

  it('says the defaults that a field left out of a job gets', () => {
    for (const { peft_type, schema } of catalog().methods) {
      if (peft_type === 'FULL') continue;
      const spec = resolveSpec({ ...body, peft: { peft_type } }, { trainingRecords: 100 });
      const said = Object.entries(
        schema['properties'] as Record<string, { default?: unknown }>,
      ).flatMap(([name, field]) => ('default' in field ? [[name, field.default] as const] : []));
      expect(spec.peft, peft_type).toMatchObject(Object.fromEntries(said));
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
    [{ peft_type: 'LORA', target_modules: [] }, 'invalid_value', 'peft.target_modules', /got \[\]/],
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
      /needs/,
    ],
    [{ peft_type: 'LORA', use_qalora: true }, 'unsupported', 'peft.use_qalora', /leave it out/],
    [{ peft_type: 'LORA', task_type: 'SEQ_CLS' }, 'unsupported', 'peft.task_type', /CAUSAL_LM/],
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

  it('a model type that is not known', () => {
    expect(refusal(() => checkPeft({ peft_type: 'LORA' }, 'mamba'))).toMatchObject({
      code: 'invalid_model',
      param: 'model',
    });
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
    expect(spec).toMatchObject({
      batch_size: 3,
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
