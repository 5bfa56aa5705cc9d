import { GraftOptions } from '@graft/contracts';
import { expect, it } from 'vitest';
import { choiceLabel, labelOf, shortHelp } from './labels.js';

it.each([
  ['peft.lora_dropout', 'LoRA dropout'],
  ['peft.r', 'Rank'],
  ['lora_alpha', 'LoRA alpha'],
  ['peft.num_virtual_tokens', 'Number of virtual tokens'],
  ['method.supervised.hyperparameters.n_epochs', 'Epochs'],
  ['graft.learning_rate', 'Learning rate'],
  ['graft.task_options.beta', 'Beta'],
  ['encoder_hidden_size', 'Encoder hidden size'],
])('labels %s as "%s"', (path, label) => expect(labelOf(path)).toBe(label));

it('shows no API name as a label', () => {
  for (const name of Object.keys(GraftOptions.shape)) expect(labelOf(name)).not.toMatch(/_/);
  expect(choiceLabel('multi_label_classification')).toBe('Any number of labels');
  expect(choiceLabel('cosine')).toBe('Cosine');
  expect(choiceLabel('q_proj.weight')).toBe('q_proj.weight');
});

it('shortens a description to one line, or to nothing', () => {
  expect(shortHelp('Stop after this many optimizer steps; null: no limit')).toBe(
    'Stop after this many optimizer steps',
  );
  expect(shortHelp(`${'long '.repeat(20)}. Short`)).toBe('');
  expect(shortHelp('Decoupled weight decay, as in AdamW')).toBe(
    'Decoupled weight decay, as in AdamW',
  );
});
