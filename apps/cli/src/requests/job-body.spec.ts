import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateJob, hyperparametersOf } from '@graft/contracts';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { bodyOf as bodyOfCall, withJobFlags, type JobFlags } from './job-body.js';

const bodyOf = (file: string | undefined, flags: JobFlags) =>
  bodyOfCall(file, flags, 'POST /v1/fine_tuning/jobs');

describe('bodyOf', () => {
  it('creates a body that the contract accepts', () => {
    const body = bodyOf(undefined, {
      model: 'm',
      train: 'file-1',
      method: 'prefix-tuning',
      seed: '7',
      epochs: '2',
      batchSize: '4',
      validationSplit: '0.1',
      set: ['peft.num_virtual_tokens=20', 'graft.learning_rate=2e-4', 'graft.pool=gpu'],
    });
    expect(CreateJob.parse(body)).toEqual({
      model: 'm',
      training_file: 'file-1',
      seed: 7,
      hyperparameters: { n_epochs: 2, batch_size: 4 },
      peft: { peft_type: 'PREFIX_TUNING', num_virtual_tokens: 20 },
      graft: { validation_split: 0.1, learning_rate: 2e-4, pool: 'gpu' },
    });
  });

  it.each([
    [[], undefined],
    [['--validation-split', '0.2'], { validation_split: 0.2 }],
    [['--no-validation-split'], { validation_split: null }],
  ])('holds out the fraction of the flags: %j', (flags, graft) => {
    const command = withJobFlags(new Command());
    const given = command.parse(['-m', 'm', '-t', 'file-1', ...flags], { from: 'user' });
    expect(bodyOf(undefined, given.opts<JobFlags>())['graft']).toEqual(graft);
  });

  it('adds trackers', () => {
    const trackers = { wandb: 'pirates', mlflow: 'parrots' };
    expect(
      CreateJob.parse(bodyOf(undefined, { model: 'm', train: 'f', ...trackers })),
    ).toMatchObject({
      integrations: [
        { type: 'wandb', wandb: { project: 'pirates' } },
        { type: 'mlflow', mlflow: { experiment: 'parrots' } },
      ],
    });
  });

  it.each([
    ['dora', { peft_type: 'LORA', use_dora: true }],
    ['RSLORA', { peft_type: 'LORA', use_rslora: true }],
    ['LoRA-GA', { peft_type: 'LORA', init_lora_weights: 'lora_ga' }],
    ['qlora', { peft_type: 'QLORA' }],
  ])('accepts the name of a LoRA variant: %s', (method, peft) => {
    expect(bodyOf(undefined, { model: 'm', train: 'f', method })['peft']).toEqual(peft);
  });

  it('sets the options of a task, and the hyperparameters of its method', () => {
    const job = { model: 'm', train: 'file-1', epochs: '2' };
    const named = bodyOf(undefined, { ...job, task: 'dpo', taskOption: ['beta=0.2', 'kind=x'] });
    expect(CreateJob.parse(named)).toMatchObject({
      hyperparameters: { n_epochs: 2 },
      graft: { task: 'dpo', task_options: { beta: 0.2, kind: 'x' } },
    });
    expect(named.method).toBeUndefined();
    expect(bodyOf(undefined, job)).toEqual({
      model: 'm',
      training_file: 'file-1',
      hyperparameters: { n_epochs: 2 },
    });
    const typed = bodyOf(undefined, { ...job, set: ['method.type=dpo'] });
    expect(CreateJob.parse(typed)).toMatchObject({
      method: { type: 'dpo' },
      hyperparameters: { n_epochs: 2 },
    });
    const more = bodyOf(undefined, {
      ...job,
      set: ['method.dpo.hyperparameters.beta=1', 'method.type=dpo'],
    });
    expect(more).toMatchObject({ method: { dpo: { hyperparameters: { n_epochs: 2, beta: 1 } } } });
    expect(() => bodyOf(undefined, { ...job, taskOption: ['beta'] })).toThrow(
      '--task-option beta: expected name=value',
    );
  });

  it('keeps the hyperparameters of the body file in addition to those of the flags', () => {
    const folder = mkdtempSync(join(tmpdir(), 'graft-body-'));
    const file = join(folder, 'job.json');
    for (const method of [undefined, { type: 'supervised' }]) {
      writeFileSync(
        file,
        JSON.stringify({
          model: 'm',
          training_file: 'f',
          method,
          hyperparameters: { batch_size: 4 },
        }),
      );
      const body = CreateJob.parse(bodyOf(file, { epochs: '2' }));
      expect(hyperparametersOf(body)).toEqual({ batch_size: 4, n_epochs: 2 });
    }
    rmSync(folder, { recursive: true });
  });

  it('defaults to LoRA if only its options are set', () => {
    const body = bodyOf(undefined, { model: 'm', train: 'f', set: ['peft.r=8'] });
    expect(body['peft']).toEqual({ peft_type: 'LORA', r: 8 });
  });

  it('overrides the body file with flags, and treats FULL as no adapter', () => {
    const folder = mkdtempSync(join(tmpdir(), 'graft-body-'));
    const file = join(folder, 'job.json');
    writeFileSync(
      file,
      '{"model":"m","training_file":"f","seed":1,"peft":{"peft_type":"LORA","r":4}}',
    );
    expect(bodyOf(file, { set: ['peft.r=8'], seed: '2' })).toEqual({
      model: 'm',
      training_file: 'f',
      seed: 2,
      peft: { peft_type: 'LORA', r: 8 },
    });
    expect(bodyOf(file, { set: [], method: 'full' }).peft).toBeNull();
    writeFileSync(file, '[]');
    expect(() => bodyOf(file, { set: [] })).toThrow('expected a JSON object');
    rmSync(folder, { recursive: true });
  });

  it('reports missing and invalid flags', () => {
    expect(() => bodyOf(undefined, { set: [] })).toThrow('--model is required');
    expect(() => bodyOf(undefined, { set: [], model: 'm' })).toThrow('--train is required');
    expect(() => bodyOf(undefined, { set: ['peft.r'], model: 'm', train: 't' })).toThrow(
      'expected path=value',
    );
    expect(() => bodyOf(undefined, { set: ['__proto__.x=1'], model: 'm', train: 't' })).toThrow(
      'is not a valid field path',
    );
    expect(() => bodyOf(undefined, { set: [], seed: '1.5' })).toThrow(
      '--seed: expected an integer',
    );
  });
});
