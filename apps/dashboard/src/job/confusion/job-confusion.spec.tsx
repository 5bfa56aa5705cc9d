// @vitest-environment happy-dom
import type { JobObject } from '@graft/contracts';
import { cleanup, configure, fireEvent, render, screen, within } from '@testing-library/react';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { serve, type Served } from '../../../test/served.js';
import { InApp } from '../../in-app.js';
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
  lines: correct > 0 ? [1] : [],
});
const FOUND = {
  job_id: JOB.id,
  steps: [4, 8],
  best_step: 8,
  step_number: 8,
  full: true,
  examples: 5,
  examples_file: 'file-1',
  classes: [rated('cat', 2, 2, 3), rated('dog', 3, 2, 2), rated('cow', 0, 0, 0)],
  confused: [{ label: 'dog', predicted: 'cat', count: 3, lines: [4, 7] }],
};
let served: Served;
let found: object;

beforeAll(async () => {
  served = await serve(({ pathname, searchParams }) => {
    if (pathname === '/v1/files/file-1/records') {
      const line = Number(searchParams.get('after')) + 1;
      const record = { text: `text ${line}`, label: 'dog' };
      return { data: [{ line, record, problem: null, text: null }], has_more: false };
    }
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

it('shows predictions as numbers and colors, and per-label metrics', async () => {
  render(<JobConfusion job={JOB} evaluations={[1, 2]} />, { wrapper: InApp });
  const matrix = await screen.findByRole('region', { name: 'Confusion matrix' });
  expect(within(matrix).getByTitle('3 of 3 “dog” predicted as “cat”').textContent).toBe('3');
  const right = within(matrix).getByTitle('2 of 2 “cat” predicted correctly');
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

it('shows examples of a cell until it is clicked again', async () => {
  render(<JobConfusion job={JOB} evaluations={[1, 2]} />, { wrapper: InApp });
  const cell = await screen.findByRole('button', { name: '3 of 3 “dog” predicted as “cat”' });
  expect(cell.getAttribute('aria-expanded')).toBe('false');
  fireEvent.click(cell);
  const shown = await screen.findByRole('region', { name: 'Examples in this cell' });
  await within(shown).findByText('text 4');
  await within(shown).findByText('text 7');
  within(shown).getByText('the first 2 of 3');
  expect(cell.getAttribute('aria-expanded')).toBe('true');
  fireEvent.click(screen.getByRole('button', { name: '2 of 2 “cat” predicted correctly' }));
  await within(shown).findByText('text 1');
  fireEvent.click(screen.getByRole('button', { name: '2 of 2 “cat” predicted correctly' }));
  expect(screen.queryByRole('region', { name: 'Examples in this cell' })).toBeNull();
  // An empty cell has no examples.
  expect(screen.queryByRole('button', { name: /taken for “cow”/ })).toBeNull();
});

it('stays while a new evaluation is loading', async () => {
  const { rerender } = render(<JobConfusion job={JOB} evaluations={[1, 2]} />, { wrapper: InApp });
  const cell = await screen.findByRole('button', { name: '3 of 3 “dog” predicted as “cat”' });
  fireEvent.click(cell);
  const shown = await screen.findByRole('region', { name: 'Examples in this cell' });
  await within(shown).findByText('text 4');
  found = { ...FOUND, steps: [4, 8, 12] };
  rerender(<JobConfusion job={JOB} evaluations={[1, 2, 3]} />);
  expect(cell.isConnected && shown.isConnected).toBe(true);
  await screen.findByRole('option', { name: '12' });
  expect(cell.isConnected && shown.isConnected).toBe(true);
  // But data of another job is never shown.
  rerender(<JobConfusion job={{ ...JOB, id: 'ftjob-2' }} evaluations={[1, 2, 3]} />);
  expect(screen.queryByRole('region', { name: 'Confusion matrix' })).toBeNull();
});

it('shows the selected evaluation', async () => {
  render(<JobConfusion job={JOB} evaluations={[1, 2]} />, { wrapper: InApp });
  const choice = await screen.findByLabelText<HTMLSelectElement>('Evaluation after step');
  expect([...choice.options].map(({ text }) => text)).toEqual(['4', '8 (lowest loss)']);
  fireEvent.change(choice, { target: { value: '4' } });
  await screen.findByText(/a sample of the validation data/);
});

it('lists pairs if there are too many labels for a matrix', async () => {
  const classes = Array.from({ length: 51 }, (_, i) => rated(`label ${i}`, 1, 1, 1));
  found = { ...FOUND, classes };
  render(<JobConfusion job={JOB} evaluations={[1, 2]} />, { wrapper: InApp });
  fireEvent.click(await screen.findByRole('button', { name: '3 “dog” predicted as “cat”' }));
  await screen.findByText('text 7');
  expect(screen.queryByRole('region', { name: 'Confusion matrix' })).toBeNull();
});

it('reports that no evaluation has a confusion matrix', async () => {
  found = { ...FOUND, steps: [], step_number: null, classes: [], confused: [] };
  render(<JobConfusion job={JOB} evaluations={[]} />, { wrapper: InApp });
  await screen.findByText('No evaluation with a confusion matrix yet.');
});
