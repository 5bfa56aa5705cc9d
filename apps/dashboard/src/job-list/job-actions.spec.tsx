// @vitest-environment happy-dom
import type { JobObject } from '@graft/contracts';
import { act, cleanup, configure, render, screen, waitFor } from '@testing-library/react';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { refusal, serve, type Served } from '../../test/served.js';
import { InApp } from '../in-app.js';
import { useJobActions, type JobActions } from './job-actions.js';

const job = { id: 'ftjob-1', status: 'succeeded', graft: { name: 'pirate', tags: [] } };
let served: Served;
let actions: JobActions;

beforeAll(async () => {
  served = await serve((_, method) =>
    method === 'DELETE'
      ? { graft: { restorable_until: 9 } }
      : refusal('ftjob-1 was deleted for good'),
  );
  configure({ asyncUtilTimeout: 10_000 }); // the machine may be busy
});
afterEach(cleanup);
afterAll(() => served.close());

function Page() {
  actions = useJobActions(() => undefined);
  return actions.error && <p>on its page: {actions.error.message}</p>;
}

it('reports a failed undo on another page', async () => {
  const { rerender } = render(<Page />, { wrapper: InApp });
  await waitFor(() => expect(actions).toBeDefined());
  act(() => actions.remove([job as unknown as JobObject]));
  await screen.findByText('Delete pirate?');
  act(() => screen.getByRole('button', { name: 'Delete job' }).click());
  await screen.findByRole('region', { name: /Notifications/ });
  const undo = await screen.findByRole('button', { name: 'Undo' });
  rerender(<p>another page</p>);
  await screen.findByText('another page');
  act(() => undo.click());
  await screen.findAllByText('Could not be undone: ftjob-1 was deleted for good');
  expect(served.paths).toEqual([
    '/v1/fine_tuning/jobs/ftjob-1',
    '/v1/fine_tuning/jobs/ftjob-1/restore',
  ]);
});
