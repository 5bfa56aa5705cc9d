// Every field of PEFT's configs (peft-configs.json) is either an option of Graft's method, with PEFT's
// default, or rejected by name. Every option is a field of PEFT's, and attaching the method reads it.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { backward, clone, mapSafetensors, setThreads, sum, tidy } from '@graft/kernels';
import {
  buildModel,
  methods,
  parsePeft,
  runRows,
  type Adapter,
  type Method,
  type Model,
  type PeftConfig,
} from '@graft/peft-core';
import { catalog } from '@graft/peft-core/catalog';
import { beforeAll, describe, expect, it } from 'vitest';
import { bases, casesOf, families, firstBatch, HERE, json } from './golden-case.js';
import { partsFor, XLORA } from './mixed-loras.js';

type Fields = Readonly<Record<string, unknown>>;
type Config = Exclude<PeftConfig, null>;

const PEFT = json<Readonly<Record<string, Fields>>>('peft-configs.json');
/** Fields that every config has and that no method uses. */
const BOOKKEEPING = new Set([
  ...['auto_mapping', 'base_model_name_or_path', 'inference_mode', 'peft_version', 'revision'],
  ...['peft_type', 'task_type'],
]);
/** Fields whose values follow from the base, regardless of the content of the file. */
const FROM_BASE = new Set(['fan_in_fan_out', 'tokenizer_name_or_path']);
/**
 * Fields that are validated and have only one value, which other fields determine, or that are only stored
 * for PEFT.
 */
const IMPLIED = new Set(['CPT.cpt_mask', 'CPT.num_virtual_tokens', 'FROD.progressbar']);
/** Fields that PEFT requires. */
const GIVEN = new Set(['num_virtual_tokens', 'total_step']);
/** Configs for options that the golden cases do not use. */
const MORE: readonly Config[] = [
  {
    peft_type: 'PROMPT_TUNING',
    num_virtual_tokens: 4,
    prompt_tuning_init: 'TEXT',
    prompt_tuning_init_text: 'abc',
  },
  ...['eva', 'corda', 'lora_ga'].map((init) => ({
    peft_type: 'LORA',
    r: 2,
    init_lora_weights: init,
  })),
  { peft_type: 'LORA', r: 2, init_lora_weights: 'loftq', loftq_config: { loftq_bits: 4 } },
  {
    peft_type: 'MULTITASK_PROMPT_TUNING',
    num_tasks: 3,
    prompt_tuning_init: 'TEXT',
    prompt_tuning_init_text: 'abc',
  },
  { peft_type: 'MULTITASK_PROMPT_TUNING', prompt_tuning_init: 'EXACT_SOURCE_TASK' },
];
/** One value of each type. None of them means "not used" in any field. */
const USED = [true, 7, 'something', ['something'], { something: 1 }];

const compared = methods.filter(({ name }) => name in PEFT);
const fieldsOf = (name: string): string[] =>
  Object.keys(PEFT[name] as Fields).filter((field) => !BOOKKEEPING.has(field));
const optionsOf = (name: string): Readonly<Record<string, Fields>> => {
  const schema = catalog().methods.find(({ peft_type }) => peft_type === name)?.schema as {
    properties: Readonly<Record<string, Fields>>;
  };
  return schema.properties;
};

/** Loads an adapter from its own tensors, as a warm start does. */
function loadAgain(adapter: Adapter): void {
  tidy(() => {
    const copies = [...adapter.exported()].map(([name, tensor]) => [name, clone(tensor)] as const);
    adapter.load(new Map(copies));
  });
}

/** Wraps options and records which ones are read. */
function watched(options: Fields, read: Set<string>): Fields {
  return new Proxy(options, {
    get: (fields, name: string) => {
      read.add(name);
      return fields[name];
    },
  });
}

const tokenize = (text: string): number[] => [...text].map((letter) => letter.charCodeAt(0) % 90);

/** Adapters that an adapter is built from. */
function partsOf(method: Method, model: Model, options: unknown) {
  const names = method.adapters?.(options) ?? [];
  const made = names.length > 0 ? partsFor(model, XLORA) : [];
  return names.map((_, i) => {
    const { peft, tensors } = made[i % made.length] as (typeof made)[number];
    return { method: peft.peft_type, options: parsePeft(peft).options, tensors };
  });
}

function attach(method: Method, model: Model, options: unknown, family: string): void {
  method.prepare?.(model, options, { run: 1, seed: 0 })?.dispose();
  const adapters = partsOf(method, model, options);
  const adapter = method.attach(model, options, { run: 1, seed: 0, tokenize, adapters });
  try {
    if (!families.includes(family)) return;
    const { batch } = firstBatch(family, 1);
    const rows = runRows(batch.decoder.sequences);
    const ctx = { training: true, runs: new Map([[1, { seed: 0, step: 0 }]]), rows };
    tidy(() => {
      backward([sum(model.forward(batch, ctx).decoder.hidden)], [null]);
      adapter.penalty?.().backward();
      adapter.afterStep?.(1);
    });
    if (method.virtual) loadAgain(adapter);
  } finally {
    adapter.detach();
  }
}

/** Configs of tasks that need no head. */
const configsOf = (family: string): Config[] =>
  ['causal_lm', 'seq_2_seq_lm']
    .flatMap((task) => casesOf(family, task))
    .map((name) => join(family, name, 'adapter_config.json'))
    .filter((path) => existsSync(join(HERE, path)))
    .map((path) => json<Config>(path));

/** Names of the options that are read when every golden case of a method is attached to its base. */
function readByCases(method: Method): Set<string> {
  const read = new Set<string>();
  for (const family of bases) {
    const configs = [...configsOf(family), ...(family === families[0] ? MORE : [])].filter(
      ({ peft_type: type }) => type === method.name,
    );
    if (configs.length === 0) continue;
    const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
    const base = { dtype: 'f32', quantization: null } as const;
    const model = buildModel(json(family, 'base', 'config.json'), file.tensors, base);
    for (const config of configs)
      attach(method, model, watched(parsePeft(config).options as Fields, read), family);
    model.dispose();
    file.close();
  }
  return read;
}

beforeAll(() => setThreads(1));

it('all methods except full fine-tuning exist in PEFT', () => {
  expect(methods.filter(({ name }) => !(name in PEFT)).map(({ name }) => name)).toEqual(['FULL']);
});

describe.each(compared.map((method) => [method.name, method] as const))('%s', (name, method) => {
  const options = optionsOf(name);

  it('has exactly PEFT’s fields, as options or rejected', () => {
    const refused = Object.keys(method.unsupported);
    expect([...Object.keys(options), ...refused].sort()).toEqual(fieldsOf(name).sort());
  });

  it.each(Object.keys(method.unsupported))(
    'rejects %s by name, except for the value that means unused',
    (field) => {
      const inert = method.unsupported[field];
      const refuses = (value: unknown): void => {
        expect(() => parsePeft({ peft_type: name, [field]: value })).toThrow(
          expect.objectContaining({ code: 'unsupported', param: `peft.${field}` }),
        );
      };
      USED.filter((value) => value !== inert).forEach(refuses);
      expect(() =>
        parsePeft({ peft_type: name, [field]: (PEFT[name] as Fields)[field] }),
      ).not.toThrow();
    },
  );

  it('gives reasons for known fields only', () => {
    const fields = Object.keys(method.reasons ?? {}).map(
      (reason) => reason.split('=')[0] as string,
    );
    const known = [...Object.keys(method.unsupported), ...Object.keys(options)];
    expect(fields.filter((field) => !known.includes(field))).toEqual([]);
  });

  it.each(Object.entries(method.reasons ?? {}).filter(([what]) => what.includes('=')))(
    'rejects %s by name',
    (what, reason) => {
      const [field, value] = what.split('=') as [string, string];
      const parse = (): unknown => parsePeft({ peft_type: name, [field]: value });
      const refusal = { code: 'unsupported', param: `peft.${field}` };
      expect(parse).toThrow(expect.objectContaining(refusal));
      expect(parse).toThrow(`${field} "${value}" is not supported: ${reason}; leave it out`);
    },
  );

  it('has PEFT’s defaults', () => {
    const ours = parsePeft({ peft_type: name }).options as Fields;
    const names = Object.keys(options).filter((field) => !GIVEN.has(field));
    const pick = (fields: Fields): Fields =>
      Object.fromEntries(names.map((field) => [field, fields[field]]));
    expect(pick(ours)).toEqual(pick(PEFT[name] as Fields));
  });

  it('reads every option', () => {
    const read = readByCases(method);
    // an option with only one value does not need to be read
    const hasChoice = (field: string): boolean => {
      const { enum: values, const: value } = options[field] as Fields;
      return value === undefined && !(Array.isArray(values) && values.length === 1);
    };
    const unread = Object.keys(options).filter(
      (field) => !read.has(field) && !IMPLIED.has(`${name}.${field}`),
    );
    expect(unread.filter((field) => hasChoice(field) && !FROM_BASE.has(field))).toEqual([]);
  });
});
