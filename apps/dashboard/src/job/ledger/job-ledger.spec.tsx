// @vitest-environment happy-dom
import type { JobEventObject, JobObject } from '@graft/contracts';
import { cleanup, configure, fireEvent, render, screen } from '@testing-library/react';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { serve, type Served } from '../../../test/served.js';
import { InApp } from '../../in-app.js';
import { JobLedger } from './job-ledger.js';

const EVENT = { graft: { kind: 'ledger' } } as JobEventObject;
const STEP = { graft: { kind: 'step' } } as JobEventObject;
const job = (status: JobObject['status']) =>
  ({ id: 'ftjob-1', status, graft: { loss_ledger_epochs: [1] } }) as unknown as JobObject;
const EARLY = { line: 3, loss: 5, base_loss: 5, record: 'an early line' };
const row = { line: 7, loss: 2, base_loss: 3, record: 'a line' };
const PICTURE = 'data:image/png;base64,AQID';
const RECORDS = { data: [{ line: 7, record: { image: PICTURE, label: 'cat' } }], has_more: false };
let served: Served;
let ledger: object;

beforeAll(async () => {
  served = await serve(({ pathname, searchParams }) => {
    if (pathname === '/v1/files/file-1/records') return RECORDS;
    if (pathname !== '/v1/fine_tuning/jobs/ftjob-1/ledger') return undefined;
    return searchParams.get('step') === '4' ? { ...ledger, step_number: 4, data: [EARLY] } : ledger;
  });
  configure({ asyncUtilTimeout: 10_000 }); // the machine may be busy
});
beforeEach(() => {
  ledger = { steps: [12], step_number: 12, examples: 24, mean_loss: 1, data: [row] };
  served.paths.length = 0;
});
afterEach(cleanup);
afterAll(() => served.close());

it('is loaded after an event reports it, and not before', async () => {
  const { rerender } = render(<JobLedger job={job('running')} log={[STEP]} />, { wrapper: InApp });
  await screen.findByText('Measured at the end.');
  expect(served.paths).toEqual([]);
  rerender(<JobLedger job={job('running')} log={[EVENT, STEP]} />);
  await screen.findByText('a line');
  rerender(<JobLedger job={job('succeeded')} log={[EVENT, STEP]} />);
  await screen.findByText('a line');
  expect(served.paths).toHaveLength(1);
});

it('is loaded for a finished job, whose loaded log may be incomplete', async () => {
  render(<JobLedger job={job('succeeded')} log={[STEP]} />, { wrapper: InApp });
  await screen.findByText('a line');
});

it('shows the selected epoch', async () => {
  ledger = { ...ledger, steps: [4, 12] };
  render(<JobLedger job={job('succeeded')} log={[EVENT]} />, { wrapper: InApp });
  await screen.findByText('a line');
  const choice = screen.getByLabelText<HTMLSelectElement>('After');
  expect([...choice.options].map(({ text }) => text)).toEqual([
    'epoch 1 (step 4)',
    'the end (step 12)',
  ]);
  fireEvent.change(choice, { target: { value: '4' } });
  await screen.findByText('an early line');
});

it('shows the images with the highest loss', async () => {
  const record = '{"image":"data:image/png;base64,…","label":"cat"}';
  ledger = { ...ledger, data: [{ ...row, record }] };
  const of = { ...job('succeeded'), training_file: 'file-1' };
  render(<JobLedger job={of} log={[EVENT]} />, { wrapper: InApp });
  const shown = await screen.findByRole<HTMLImageElement>('img', { name: 'cat, line 7' });
  expect(shown.src).toBe(PICTURE);
  expect(served.paths.at(-1)).toMatch(/records\?after=6&limit=1$/);
});

it('omits the base model’s loss if there is none', async () => {
  const columns = () => screen.getAllByRole('columnheader').map(({ textContent }) => textContent);
  const { unmount } = render(<JobLedger job={job('succeeded')} log={[EVENT]} />, { wrapper: InApp }); // prettier-ignore
  await screen.findByText(/were not learned/);
  expect(columns()).toEqual(['Line', 'Loss', 'Base model loss', 'Example']);
  unmount();
  ledger = { ...ledger, data: [{ ...row, base_loss: null }] };
  render(<JobLedger job={job('succeeded')} log={[EVENT]} />, { wrapper: InApp });
  await screen.findByText('a line');
  expect(columns()).toEqual(['Line', 'Loss', 'Example']);
  expect(screen.queryByText(/were not learned/)).toBeNull();
});
