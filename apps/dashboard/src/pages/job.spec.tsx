// @vitest-environment happy-dom
// What a browser against a healthy server cannot be made to show: a stream that is cut, a page that breaks.
import type { JobEventObject, JobObject } from '@graft/contracts';
import { cleanup, configure, render, screen, waitFor } from '@testing-library/react';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { ErrorBoundary } from '../parts/error-boundary.js';
import { JobPage } from './job.js';

const job: JobObject = {
  object: 'fine_tuning.job',
  id: 'ftjob-abc',
  created_at: 1,
  finished_at: null,
  model: 'tiny',
  fine_tuned_model: null,
  organization_id: 'o',
  status: 'running',
  hyperparameters: { batch_size: 1, learning_rate_multiplier: 'auto', n_epochs: 1 },
  method: null,
  training_file: 'file-1',
  validation_file: null,
  result_files: [],
  trained_tokens: null,
  error: null,
  seed: 1,
  estimated_finish: null,
  integrations: null,
  metadata: null,
  user_provided_suffix: null,
  peft: { peft_type: 'LORA', r: 4 },
  graft: {
    phase: { code: 'loading', message: 'Loading the base' },
    progress: { step: 0, total_steps: null, tokens_per_second: null, eta_seconds: null },
    attempts: [],
    started_at: null,
    pool: 'default',
    priority: 100,
    trainable_parameters: null,
    total_parameters: null,
    train_loss: null,
    valid_loss: null,
    sparkline: [],
    data: null,
    best: null,
    training_seconds: 0,
    worker_silent_seconds: null,
    warnings: [],
  },
};
const line = (number: number, message: string): JobEventObject => ({
  object: 'fine_tuning.job.event',
  id: `ftevent-abc-${number}`,
  created_at: 1,
  level: 'info',
  type: 'message',
  message,
  data: null,
});
const list = (data: readonly unknown[]) => ({ object: 'list', data, has_more: false });

configure({ asyncUtilTimeout: 10_000 }); // the machine may be busy

let server: Server;
const answers: Record<string, unknown> = {};
let streams: { lastId: string | undefined; response: ServerResponse }[] = [];
beforeAll(async () => {
  Object.assign(answers, {
    '/v1/fine_tuning/jobs/ftjob-abc': job,
    '/v1/fine_tuning/jobs/ftjob-abc/events': list([line(3, 'third'), line(1, 'first')]),
    '/v1/fine_tuning/jobs/ftjob-abc/logs': list([line(2, 'a line of the trainer')]),
    '/v1/fine_tuning/jobs/ftjob-abc/checkpoints': list([]),
    '/v1/fine_tuning/jobs/ftjob-abc/metrics': {
      object: 'graft.metrics',
      steps: [],
      series: {},
      evaluations: [],
      marks: [],
    },
  });
  server = createServer((request, response) => {
    const path = request.url?.split('?')[0] ?? '';
    if (path.endsWith('/stream')) {
      streams.push({ lastId: request.headers['last-event-id'] as string | undefined, response });
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('retry: 2000\n\n');
      return;
    }
    response.writeHead(path in answers ? 200 : 404, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify(
        answers[path] ?? { error: { message: `no ${path}`, type: 'x', param: null, code: null } },
      ),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  (window as unknown as { happyDOM: { setURL(url: string): void } }).happyDOM.setURL(
    `http://127.0.0.1:${(server.address() as AddressInfo).port}/jobs/ftjob-abc`,
  );
});
afterEach(() => {
  cleanup();
  streams = [];
  answers['/v1/fine_tuning/jobs/ftjob-abc'] = job;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const send = (kind: string, id: number, data: unknown) =>
  streams.at(-1)?.response.write(`id: ${id}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`);
const shownLines = () =>
  [...document.querySelectorAll('.log .pre')].map((element) => element.textContent);

it(
  'says that the connection is lost, comes back for what it missed, and says so no longer',
  { timeout: 40_000 },
  async () => {
    render(<JobPage id="ftjob-abc" tab="log" />);
    await waitFor(() => expect(streams.length).toBe(1));
    expect(streams[0]?.lastId).toBe('3');
    await screen.findByRole('log');
    send('event', 4, line(4, 'fourth'));
    send('event', 4, line(4, 'fourth'));
    await waitFor(() =>
      expect(shownLines()).toEqual(['first', 'a line of the trainer', 'third', 'fourth']),
    );
    expect(screen.queryByText(/live connection is lost/)).toBeNull();

    streams[0]?.response.end();
    await screen.findByText(/live connection is lost/);
    await waitFor(() => expect(streams.length).toBe(2));
    expect(streams[1]?.lastId).toBe('4');
    await waitFor(() => expect(screen.queryByText(/live connection is lost/)).toBeNull());
    send('event', 5, line(5, 'fifth'));
    await waitFor(() => expect(shownLines().at(-1)).toBe('fifth'));
  },
);

it('says what the run warns of, in words', async () => {
  const warnings = [
    { code: 'overfitting', message: 'The validation loss has risen since step 10.', step: 40 },
    { code: 'zero_gradient', message: 'Nothing was learnt.', step: null },
  ];
  answers['/v1/fine_tuning/jobs/ftjob-abc'] = { ...job, graft: { ...job.graft, warnings } };
  render(<JobPage id="ftjob-abc" tab={null} />);
  const list = await screen.findByRole('list', { name: 'Warnings' });
  expect([...list.children].map((line) => line.textContent)).toEqual([
    '⚠ Warning step 40: The validation loss has risen since step 10.',
    '⚠ Warning Nothing was learnt.',
  ]);
});

it('says that the worker of a running job is silent, though no event tells of it', async () => {
  render(<JobPage id="ftjob-abc" tab={null} />);
  await screen.findByText('Loading the base');
  expect(screen.queryByText(/silent/)).toBeNull();
  const silent = (seconds: number | null) => ({
    ...job,
    graft: { ...job.graft, worker_silent_seconds: seconds },
  });
  answers['/v1/fine_tuning/jobs/ftjob-abc'] = silent(9.4);
  await screen.findByText('its worker has been silent for 9 s');
  answers['/v1/fine_tuning/jobs/ftjob-abc'] = silent(null);
  await waitFor(() => expect(screen.queryByText(/silent/)).toBeNull());
});

it('says that there is no such job', async () => {
  render(<JobPage id="ftjob-none" tab={null} />);
  expect((await screen.findByRole('alert')).textContent).toContain('There is no job ftjob-none');
});

it('shows what broke a page instead of a blank one', () => {
  const complaints = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const Broken = (): never => {
    throw new Error('metrics.steps is undefined');
  };
  const { rerender } = render(
    <ErrorBoundary key="/a">
      <Broken />
    </ErrorBoundary>,
  );
  expect(screen.getByText('This page broke')).toBeTruthy();
  expect(screen.getByText('metrics.steps is undefined')).toBeTruthy();
  // Another page has another key, and is not broken.
  rerender(
    <ErrorBoundary key="/b">
      <p>well</p>
    </ErrorBoundary>,
  );
  expect(screen.getByText('well')).toBeTruthy();
  complaints.mockRestore();
});
