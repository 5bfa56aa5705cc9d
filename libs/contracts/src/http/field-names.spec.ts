import { describe, expect, it } from 'vitest';
import { CreateJob } from '../jobs/requests/create-job.js';
import { fieldPaths, meantField, nearestNames, wayOut } from './field-names.js';

const known = [...fieldPaths(CreateJob), 'peft.r', 'peft.lora_alpha', 'peft.layer_replication'];

describe('meantField', () => {
  it.each([
    ['learning_rate', 'graft.learning_rate'],
    ['n_epochs', 'hyperparameters.n_epochs'],
    ['epochs', 'hyperparameters.n_epochs'],
    ['graft.n_epochs', 'hyperparameters.n_epochs'],
    ['lr', 'graft.learning_rate'],
    ['graft.lr', 'graft.learning_rate'],
    ['graft.learning-rate', 'graft.learning_rate'],
    ['graft.learningrate', 'graft.learning_rate'],
    ['graft.eval_step', 'graft.eval_steps'],
    ['method.supervised.hyperparameters.batchsize', 'method.supervised.hyperparameters.batch_size'],
    ['modle', 'model'],
    ['r', 'peft.r'],
    ['graft.alpha', 'peft.lora_alpha'],
  ])('suggests for %s: %s', (typed, meant) => expect(meantField(typed, known)).toBe(meant));

  it.each(['x', 'graft.zz', 'flux_capacitor', '', 'graft.'])('suggests nothing for %j', (typed) =>
    expect(meantField(typed, known)).toBeNull(),
  );

  it('does not compare names that are longer than any field', () => {
    expect(meantField('x'.repeat(199), ['x'.repeat(200)])).toBeNull();
    const paths = Array.from({ length: 200 }, (_, n) => `a_field_of_some_length_${n}`);
    const before = process.cpuUsage();
    expect(wayOut('a_field_'.repeat(500_000), paths)).toBe('leave it out');
    expect(process.cpuUsage(before).user / 1e6).toBeLessThan(2);
  });
});

it('returns the remedy for an unknown field', () => {
  expect(wayOut('lr', known)).toBe('did you mean graft.learning_rate?');
  expect(wayOut('zz', known)).toBe('leave it out');
});

it.each([
  ['gemma3', ['gemma', 'gemma3_text']],
  ['qwen3_next', ['qwen3']],
  ['Lama', ['llama']],
  ['mamba', []],
  ['swin', []],
  ['', []],
  ['x'.repeat(200), []],
])('finds the names most similar to %s', (typed, nearest) => {
  const types = ['llama', 'qwen3', 'qwen3_moe', 'gemma', 'gemma3_text', 'vit', 'bert'];
  expect(nearestNames(typed, types)).toEqual(nearest);
});
