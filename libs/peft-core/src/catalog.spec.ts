import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { GraftOptions } from '@graft/contracts';
import type { CreateJob } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { catalog, checkPeft, resolveSpec } from './catalog.js';
import type { PeftConfig } from './catalog.js';
import { methods } from './methods/registry.js';

const body: CreateJob = { model: 'smollm2', training_file: 'file-1' };

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

  /** Options that do not affect a run, or that a Spec omits when it does not need them. */
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

  /** Fields that each method requires in order to create a job. */
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
