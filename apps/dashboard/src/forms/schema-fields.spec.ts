import { GraftOptions } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { collect, fieldsOf, numberProblem } from './schema-fields.js';

const schema = z.toJSONSchema(
  z.strictObject({
    peft_type: z.literal('LORA'),
    r: z.int().min(1).default(8).describe('rank'),
    lora_dropout: z.number().default(0),
    target_modules: z
      .union([z.array(z.string()), z.string()])
      .nullable()
      .default(null),
    use_dora: z.boolean().default(false),
    bias: z.enum(['none', 'all']).default('none'),
    init_lora_weights: z.union([z.boolean(), z.literal('gaussian')]).default(true),
    rank_pattern: z.record(z.string(), z.int()).default({}),
    modules_to_save: z.array(z.string()).nullable().default(null),
    layers: z.union([z.int(), z.array(z.int())]).default([]),
  }),
  { io: 'input' },
);

describe('a form generated from a schema', () => {
  it('reads the kind, default and help of each field and omits constants', () => {
    const fields = fieldsOf(schema);
    expect(fields.map(({ name, kind }) => [name, kind])).toEqual([
      ['r', 'integer'],
      ['lora_dropout', 'number'],
      ['target_modules', 'text'],
      ['use_dora', 'flag'],
      ['bias', 'choice'],
      ['init_lora_weights', 'json'],
      ['rank_pattern', 'json'],
      ['modules_to_save', 'list'],
      ['layers', 'json'],
    ]);
    expect(fields[0]).toMatchObject({ help: 'rank', fallback: 8 });
    expect(fields[2]?.nullable).toBe(true);
    expect(fields[4]?.choices).toEqual(['none', 'all']);
  });

  it('converts typed text to API values, and leaves validation to the server', () => {
    const values = {
      r: '16',
      target_modules: 'q_proj, v_proj',
      use_dora: 'true',
      rank_pattern: '{"q_proj":4}',
      init_lora_weights: 'true',
      bias: '',
      modules_to_save: 'lm_head',
      layers: '1, 3',
    };
    expect(collect(fieldsOf(schema), values)).toEqual({
      r: 16,
      target_modules: ['q_proj', 'v_proj'],
      use_dora: true,
      rank_pattern: { q_proj: 4 },
      init_lora_weights: true,
      modules_to_save: ['lm_head'],
      layers: [1, 3],
    });
    expect(
      collect(fieldsOf(schema), {
        target_modules: 'all-linear',
        r: 'many',
        init_lora_weights: 'gaussian',
      }),
    ).toEqual({
      target_modules: 'all-linear',
      r: 'many',
      init_lora_weights: 'gaussian',
    });
  });

  it('shows every training option of the contract', () => {
    const fields = fieldsOf(z.toJSONSchema(GraftOptions, { io: 'input' }));
    expect(fields.map((field) => field.name)).toEqual(Object.keys(GraftOptions.shape));
    expect(fields.find((field) => field.name === 'lr_schedule')?.choices).toEqual([
      'linear',
      'cosine',
      'constant',
    ]);
  });
});

it('checks numbers while they are typed, in the words of users', () => {
  const [rank, dropout] = fieldsOf(schema);
  const learningRate = fieldsOf(z.toJSONSchema(GraftOptions, { io: 'input' })).find(
    ({ name }) => name === 'learning_rate',
  )!;
  expect(numberProblem(rank!, '')).toBeNull();
  expect(numberProblem(rank!, '16')).toBeNull();
  expect(numberProblem(rank!, '0')).toBe('at least 1');
  expect(numberProblem(rank!, '1.5')).toBe('a whole number');
  expect(numberProblem(rank!, 'many')).toBe('a number, not “many”');
  expect(numberProblem(dropout!, '-1')).toBeNull(); // It has no limits.
  expect(numberProblem(learningRate, '0')).toBe('greater than 0');
  expect(numberProblem(learningRate, '11')).toBe('at most 10');
});
