import { CreateJob, type DomainError, parseBody } from '@graft/contracts';
import { expect, it } from 'vitest';
import { peftFields } from '../catalog/plugins.js';

const job = { model: 'm', training_file: 'f' };

it.each([
  [{ learning_rate: 1e-4 }, 'unknown field learning_rate; did you mean graft.learning_rate?'],
  [{ lora_alpha: 8 }, 'unknown field lora_alpha; did you mean peft.lora_alpha?'],
  [{ graft: { epochs: 8 } }, 'unknown field graft.epochs; did you mean hyperparameters.n_epochs?'],
  [{ graft: { zz: 8 } }, 'unknown field graft.zz; leave it out'],
  [{ '': 8 }, 'unknown field ""; leave it out'],
])('suggests the field that %j probably meant', (extra, message) => {
  expect(() => parseBody(CreateJob, { ...job, ...extra }, peftFields)).toThrow(message);
});

it.each([
  ['an unknown field', { ['x'.repeat(400_000)]: 1 }],
  ['a key of a map', { metadata: { ['x'.repeat(400_000)]: 1 } }],
])('truncates the name of %s in the error', (_, extra) => {
  let refused: DomainError | null = null;
  try {
    parseBody(CreateJob, { ...job, ...extra }, peftFields);
  } catch (error) {
    refused = error as DomainError;
  }
  expect(refused?.message.length).toBeLessThan(500);
  expect(refused?.message).toMatch(/x{80}.*more characters/);
  expect(refused?.param?.length).toBeLessThan(200);
});
