import { expect, it } from 'vitest';
import { csvColumns } from './csv-columns.js';

const titles = (task: string, train: string[], valid: string[] = []): string[] =>
  csvColumns(task, { train, valid }).map(({ title }) => title);
const FIRST = ['train_loss', 'train_accuracy', 'valid_loss', 'valid_mean_token_accuracy'];

it("starts with OpenAI's columns, whatever was measured", () => {
  expect(titles('causal_lm', [])).toEqual(FIRST);
  expect(titles('causal_lm', ['accuracy', 'loss'], ['loss'])).toEqual(FIRST);
});

it('orders the other columns as the catalog does, with unknown names last', () => {
  const train = ['zeta', 'alpha', 'grad_norm', 'loss', 'learning_rate', 'supervised_tokens'];
  expect(titles('causal_lm', train, ['loss', 'supervised_tokens', 'alpha'])).toEqual([
    ...FIRST,
    'train_supervised_tokens',
    'learning_rate',
    'grad_norm',
    'train_alpha',
    'train_zeta',
    'valid_supervised_tokens',
    'valid_alpha',
  ]);
});

it('includes the columns of an unknown task', () => {
  expect(titles('from_a_newer_build', ['loss', 'margin', 'grad_norm'], ['margin'])).toEqual([
    ...FIRST,
    'grad_norm',
    'train_margin',
    'valid_margin',
  ]);
});

it('uses the accuracy as mean_token_accuracy only for tasks that declare it so', () => {
  const names = { train: ['loss', 'accuracy'], valid: ['loss', 'accuracy'] };
  for (const task of ['causal_lm', 'seq_2_seq_lm'])
    expect(csvColumns(task, names)).toMatchObject([{}, {}, {}, { name: 'accuracy' }]);
  const columns = csvColumns('dpo', names);
  expect(columns.map(({ title }) => title)).toEqual([...FIRST, 'valid_accuracy']);
  expect(columns.find(({ title }) => title === 'valid_mean_token_accuracy')?.name).not.toBe(
    'accuracy',
  );
});
