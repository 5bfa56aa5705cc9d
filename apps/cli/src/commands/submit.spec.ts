import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateJob } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { bodyOf } from './submit.js';

describe('bodyOf', () => {
  it('makes a body that the contract accepts', () => {
    const body = bodyOf(undefined, {
      model: 'm',
      train: 'file-1',
      method: 'prefix-tuning',
      seed: '7',
      epochs: '2',
      batchSize: '4',
      set: ['peft.num_virtual_tokens=20', 'graft.learning_rate=2e-4', 'graft.pool=gpu'],
    });
    expect(CreateJob.parse(body)).toEqual({
      model: 'm',
      training_file: 'file-1',
      seed: 7,
      method: {
        type: 'supervised',
        supervised: { hyperparameters: { n_epochs: 2, batch_size: 4 } },
      },
      peft: { peft_type: 'PREFIX_TUNING', num_virtual_tokens: 20 },
      graft: { learning_rate: 2e-4, pool: 'gpu' },
    });
  });

  it('takes LoRA where only its options are given', () => {
    const body = bodyOf(undefined, { model: 'm', train: 'f', set: ['peft.r=8'] });
    expect(body['peft']).toEqual({ peft_type: 'LORA', r: 8 });
  });

  it('lays flags over a body file, and takes FULL for no adapter', () => {
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
    expect(() => bodyOf(file, { set: [] })).toThrow('must hold a JSON object');
    rmSync(folder, { recursive: true });
  });

  it('says what is missing or cannot be read', () => {
    expect(() => bodyOf(undefined, { set: [] })).toThrow('--model is missing');
    expect(() => bodyOf(undefined, { set: [], model: 'm' })).toThrow('--train is missing');
    expect(() => bodyOf(undefined, { set: ['peft.r'], model: 'm', train: 't' })).toThrow(
      'write it as path=value',
    );
    expect(() => bodyOf(undefined, { set: ['__proto__.x=1'], model: 'm', train: 't' })).toThrow(
      "no field's path",
    );
    expect(() => bodyOf(undefined, { set: [], seed: '1.5' })).toThrow(
      '--seed must be a whole number',
    );
  });
});
