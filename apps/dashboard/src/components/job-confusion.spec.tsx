// @vitest-environment happy-dom
import type { JobObject } from '@graft/contracts';
import { cleanup, configure, fireEvent, render, screen, within } from '@testing-library/react';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { serve, type Served } from '../../test/served.js';
import { InApp } from '../in-app.js';
import { JobConfusion } from './job-confusion.js';

const JOB = { id: 'ftjob-1' } as JobObject;
const rated = (label: string, support: number, correct: number, predicted: number) => ({
  label,
  support,
  correct,
  predicted,
  precision: predicted > 0 ? correct / predicted : null,
  recall: support > 0 ? correct / support : null,
  f1: (2 * correct) / (support + predicted),
});
const FOUND = {
  steps: [4, 8],
  best_step: 8,
  step_number: 8,
  full: true,
  examples: 5,
  classes: [rated('cat', 2, 2, 3), rated('dog', 3, 2, 2), rated('cow', 0, 0, 0)],
  confused: [{ label: 'dog', predicted: 'cat', count: 1 }],
};
let served: Served;
let found: object;

beforeAll(async () => {
  served = await serve(({ pathname, searchParams }) => {
    if (pathname !== '/v1/fine_tuning/jobs/ftjob-1/confusion') return undefined;
    return searchParams.get('step') === '4'
      ? { ...found, step_number: 4, full: false, confused: [] }
      : found;
  });
  configure({ asyncUtilTimeout: 10_000 }); // the machine may be busy
});
beforeEach(() => {
  found = FOUND;
});
afterEach(cleanup);
afterAll(() => served.close());

it('shows what each label was taken for, in words beside the colours, and how well it is told', async () => {
  render(<JobConfusion job={JOB} evaluations={[1, 2]} />, { wrapper: InApp });
  const matrix = await screen.findByRole('region', { name: 'Confusion matrix' });
  expect(within(matrix).getByTitle('1 of 3 “dog” taken for “cat”').textContent).toBe('1');
  const right = within(matrix).getByTitle('2 of 2 “cat” told rightly');
  expect([right.className, right.style.getPropertyValue('--share')]).toEqual(['right', '55%']);
  expect(
    within(matrix)
      .getAllByRole('rowheader')
      .map((one) => one.textContent),
  ).toEqual(['cat', 'dog', 'cow']);
  const row = screen.getByRole('row', { name: /^dog 3 100\.0 % 66\.7 % 80\.0 %$/ });
  expect(row).toBeDefined();
  expect(screen.getByRole('row', { name: /^cow 0 – – / })).toBeDefined();
});

it('is of the evaluation that is chosen', async () => {
  render(<JobConfusion job={JOB} evaluations={[1, 2]} />, { wrapper: InApp });
  const choice = await screen.findByLabelText<HTMLSelectElement>('Evaluation after step');
  expect([...choice.options].map(({ text }) => text)).toEqual(['4', '8 (lowest loss)']);
  fireEvent.change(choice, { target: { value: '4' } });
  await screen.findByText(/a sample of the validation data/);
});

it('lists the pairs of more labels than a matrix is read with', async () => {
  const classes = Array.from({ length: 51 }, (_, i) => rated(`label ${i}`, 1, 1, 1));
  found = { ...FOUND, classes };
  render(<JobConfusion job={JOB} evaluations={[1, 2]} />, { wrapper: InApp });
  await screen.findByRole('row', { name: 'dog cat 1' });
  expect(screen.queryByRole('region', { name: 'Confusion matrix' })).toBeNull();
});

it('says where no evaluation has told labels', async () => {
  found = { ...FOUND, steps: [], step_number: null, classes: [], confused: [] };
  render(<JobConfusion job={JOB} evaluations={[]} />, { wrapper: InApp });
  await screen.findByText('No evaluation has told labels yet.');
});
