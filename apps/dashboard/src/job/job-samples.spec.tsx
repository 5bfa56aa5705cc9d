// @vitest-environment happy-dom
import type { JobEventObject, JobObject } from '@graft/contracts';
import { cleanup, configure, render, screen, waitFor } from '@testing-library/react';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { listOf, serve, type Served } from '../../test/served.js';
import { InApp } from '../in-app.js';
import { JobSamples } from './job-samples.js';

const PROMPT = 'what is 3 plus 3?';
const job = { id: 'ftjob-1', graft: { sample_prompts: [PROMPT] } } as unknown as JobObject;
const event = (id: string) => ({ id, graft: { kind: 'sample' } }) as JobEventObject;
const row = (step: number) => ({
  id: `ftevent-${step}`,
  created_at: 1,
  step_number: step,
  data: [{ prompt: PROMPT, text: `answer ${step}`, finish_reason: 'stop', completion_tokens: 2 }],
});

/** Newest first. */
let rows = Array.from({ length: 250 }, (_, n) => row(249 - n));
let served: Served;
beforeAll(async () => {
  served = await serve(({ searchParams }) => {
    const from = rows.findIndex(({ id }) => id === searchParams.get('after')) + 1;
    return listOf(rows.slice(from, from + 100), from + 100 < rows.length);
  });
  configure({ asyncUtilTimeout: 10_000 }); // the machine may be busy
});
afterEach(cleanup);
afterAll(() => served.close());

const steps = () =>
  [...document.querySelectorAll('tbody tr')].map((one) => Number(one.firstChild?.textContent));
const all = () => rows.map(({ step_number: step }) => step);

it('loads all answers, and later only new ones', async () => {
  const { rerender } = render(<JobSamples job={job} log={[]} />, { wrapper: InApp });
  await screen.findByText('answer 0');
  expect(steps()).toEqual(all());
  expect(rows).toHaveLength(250);
  rows = [row(251), row(250), ...rows];
  served.paths.length = 0;
  rerender(<JobSamples job={job} log={[event('ftevent-251')]} />);
  await screen.findByText('answer 251');
  await waitFor(() => expect(steps()).toEqual(all()));
  expect(served.paths).toEqual(['/v1/fine_tuning/jobs/ftjob-1/samples?limit=100']);
});
