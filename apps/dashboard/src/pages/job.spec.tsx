// @vitest-environment happy-dom
// Cases that a browser with a healthy server cannot show: a lost stream, and a page that breaks.
import type { ApiKeyObject, DataReport, JobEventObject, JobObject, Scope } from '@graft/contracts';
import { cleanup, configure, render, screen, waitFor, within } from '@testing-library/react';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import type { ReactNode } from 'react';
import { InApp } from '../in-app.js';
import { OwnKey } from '../api/own-key.js';
import { ContactBanner } from '../shell/contact-banner.js';
import { ErrorBoundary } from '../shell/error-boundary.js';
import { drawn } from '../job/job-charts.js';
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
    name: 'chats-lora-1',
    tags: [],
    note: null,
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
  graft: { kind: null },
});
const list = (data: readonly unknown[]) => ({ object: 'list', data, has_more: false });

configure({ asyncUtilTimeout: 10_000 }); // the machine may be busy

const show = (page: ReactNode) => render(page, { wrapper: InApp });

let server: Server;
const answers: Record<string, unknown> = {};
/** Callbacks that run once, right after a path was answered. */
const onAnswered = new Map<string, () => void>();
/** Whether the server closes every new connection. */
let away = false;
let streams: { lastId: string | undefined; response: ServerResponse }[] = [];
beforeAll(async () => {
  Object.assign(answers, {
    '/healthz': {},
    '/v1/catalog/tasks': list([]),
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
    if (away) return void response.destroy();
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
    onAnswered.get(path)?.();
    onAnswered.delete(path);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  (window as unknown as { happyDOM: { setURL(url: string): void } }).happyDOM.setURL(
    `http://127.0.0.1:${(server.address() as AddressInfo).port}/jobs/ftjob-abc`,
  );
});
afterEach(() => {
  cleanup();
  streams = [];
  away = false;
  answers['/v1/fine_tuning/jobs/ftjob-abc'] = job;
  answers['/v1/fine_tuning/jobs/ftjob-abc/checkpoints'] = list([]);
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const send = (kind: string, id: number, data: unknown) =>
  streams.at(-1)?.response.write(`id: ${id}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`);
const shownLines = () =>
  [...document.querySelectorAll('.log .pre')].map((element) => element.textContent);

it('reports a lost connection, and catches up when it is back', { timeout: 40_000 }, async () => {
  show(<JobPage id="ftjob-abc" tab="log" />);
  await waitFor(() => expect(streams.length).toBe(1));
  expect(streams[0]?.lastId).toBe('3');
  await screen.findByRole('log');
  send('event', 4, line(4, 'fourth'));
  send('event', 4, line(4, 'fourth'));
  await waitFor(() =>
    expect(shownLines()).toEqual(['first', 'a line of the trainer', 'third', 'fourth']),
  );
  expect(screen.queryByText(/Live updates are interrupted/)).toBeNull();

  streams[0]?.response.end();
  await screen.findByText(/Live updates are interrupted/);
  await waitFor(() => expect(streams.length).toBe(2));
  expect(streams[1]?.lastId).toBe('4');
  await waitFor(() => expect(screen.queryByText(/Live updates are interrupted/)).toBeNull());
  send('event', 5, line(5, 'fifth'));
  await waitFor(() => expect(shownLines().at(-1)).toBe('fifth'));
});

it('formats a live step like the history', async () => {
  show(<JobPage id="ftjob-abc" tab="log" />);
  await waitFor(() => expect(streams.length).toBe(1));
  send('metrics', 4, { step: 2, loss: 0.0013 });
  await waitFor(() => expect(shownLines().at(-1)).toBe('Step 2/?: training loss=0.001300'));
});

it('shows the error of a job that failed while its page loaded', async () => {
  const events = '/v1/fine_tuning/jobs/ftjob-abc/events';
  const before = answers[events];
  onAnswered.set(events, () => {
    answers['/v1/fine_tuning/jobs/ftjob-abc'] = { ...job, status: 'failed', finished_at: 9 };
    answers[events] = list([line(4, 'the reason'), line(3, 'third'), line(1, 'first')]);
  });
  show(<JobPage id="ftjob-abc" tab="log" />);
  await screen.findByText('the reason');
  answers[events] = before;
});

it('reloads a job that ended while the API was down', async () => {
  show(
    <>
      <ContactBanner />
      <JobPage id="ftjob-abc" tab={null} />
    </>,
  );
  await waitFor(() => expect(streams.length).toBe(1));
  const done = { ...job, status: 'succeeded', finished_at: 9 } as const;
  answers['/v1/fine_tuning/jobs/ftjob-abc'] = done;
  away = true;
  send('job', 5, done);
  await screen.findByText('Graft is not responding');
  expect(screen.queryByText('succeeded')).toBeNull();
  away = false;
  await screen.findByText('succeeded');
  expect(streams.length).toBe(1);
});

const data: DataReport = {
  examples: 1200,
  tokens: 60_000,
  supervised_tokens: 15_000,
  sampled: false,
  longest: 812,
  largest_rows: 512,
  memory_bytes: 480_000,
  max_seq_len: 512,
  cut: 2,
  cut_lines: [7, 31],
  duplicates: 1,
  overlap: 0,
  formats: { messages: 1200 },
  ignored_fields: {},
  warnings: ['2 of 1,200 examples of the training file are longer than 512 tokens.'],
};

it('shows the data’s statistics, and links to truncated lines', async () => {
  answers['/v1/files/file-1'] = { object: 'file', id: 'file-1', filename: 'desk.jsonl' };
  answers['/v1/fine_tuning/jobs/ftjob-abc'] = { ...job, graft: { ...job.graft, data } };
  const chats = { name: 'messages', nouns: ['chat', 'chats'], line: '{}', learnt: ['messages'] };
  answers['/v1/catalog/tasks'] = list([{ name: 'causal_lm', record_formats: [chats] }]);
  show(
    <OwnKey value={{ scopes: ['admin'] } as unknown as ApiKeyObject}>
      <JobPage id="ftjob-abc" tab="data" />
    </OwnKey>,
  );
  const part = within(await screen.findByRole('region', { name: 'Data' }));
  expect(screen.getByRole('tab', { name: 'Data with warnings' })).toBeTruthy();
  const link = await part.findByRole('link', { name: 'desk.jsonl' });
  expect(link.getAttribute('href')).toBe('/files/file-1');
  const figures = [...document.querySelectorAll('[role=tabpanel] dl > div')].map(
    (box) => `${box.querySelector('dd')?.textContent} ${box.querySelector('dt')?.textContent}`,
  );
  expect(figures).toEqual([
    '1,200 chats',
    '60,000 tokens per epoch',
    '15,000 trained on',
    '812 tokens in the longest example',
    '2 truncated at 512 tokens',
    '1 duplicate',
  ]);
  expect(part.getByText(data.warnings[0]!)).toBeTruthy();
  const line = part.getByRole('link', { name: 'Line 31, truncated' });
  expect(line.getAttribute('href')).toBe('/files/file-1?after=30');
});

it('reports that the data was not analyzed', async () => {
  show(<JobPage id="ftjob-abc" tab="data" />);
  await screen.findByText('The data was not analyzed.');
});

it('shows only the checkpoint actions that the key allows', async () => {
  const checkpoint = {
    id: 'ftckpt-1',
    created_at: 1,
    step_number: 9,
    fine_tuned_model_checkpoint: 'ft:tiny:ckpt-step-9',
    metrics: {},
    graft: { usable: true, bytes: 1, best: false },
  };
  answers['/v1/fine_tuning/jobs/ftjob-abc/checkpoints'] = list([checkpoint]);
  const offered = async (...scopes: Scope[]) => {
    show(
      <OwnKey value={{ scopes } as unknown as ApiKeyObject}>
        <JobPage id="ftjob-abc" tab="checkpoints" />
      </OwnKey>,
    );
    await screen.findByLabelText('Copy model name of step 9');
    const names = ['Download step 9', 'Chat with step 9'].filter((name) =>
      screen.queryByLabelText(name),
    );
    cleanup();
    return names;
  };
  expect(await offered('jobs:read', 'models:read')).toEqual(['Chat with step 9']);
  expect(await offered('jobs:read', 'files:read')).toEqual(['Download step 9']);
  expect(await offered('jobs:read')).toEqual([]);
});

it('marks the best checkpoint by eval score, and shows the scores', async () => {
  const scored = (step: number, eval_score: number, best: boolean) => ({
    id: `ftckpt-${step}`,
    created_at: 1,
    step_number: step,
    fine_tuned_model_checkpoint: `ft:tiny:ckpt-step-${step}`,
    metrics: { eval_score },
    graft: { usable: true, bytes: 1, best },
  });
  answers['/v1/fine_tuning/jobs/ftjob-abc/checkpoints'] = list([
    scored(20, 0.5, false),
    scored(10, 0.75, true),
  ]);
  const graft = { ...job.graft, best_score: { step: 10, eval_score: 0.75 } };
  answers['/v1/fine_tuning/jobs/ftjob-abc'] = { ...job, graft };
  show(<JobPage id="ftjob-abc" tab="checkpoints" />);
  const results = within(await screen.findByLabelText('Results'));
  expect(results.getByText('Best eval score').nextSibling?.textContent).toBe('75 %');
  await screen.findByText('75 % pass');
  const rows = [...document.querySelectorAll('tbody tr')].map((row) => row.textContent);
  expect(rows).toEqual([
    expect.stringMatching(/^20.*50 % pass/),
    expect.stringMatching(/^10 ★ best.*75 % pass/),
  ]);
});

it('shows a named chart for metrics that only evaluations have', () => {
  const metrics = {
    object: 'graft.metrics',
    steps: [1, 2],
    series: { loss: [3, 2] },
    evaluations: [{ step: 2, loss: null, eval_score: 0.5 }],
    marks: [],
  } as const;
  expect(drawn(metrics, []).map(({ title }) => title)).toEqual(['loss', 'Eval score']);
});

it('explains missing checkpoints only for training runs', async () => {
  const cancelled = (step: number) => ({
    ...job,
    status: 'cancelled',
    graft: { ...job.graft, progress: { ...job.graft.progress, step } },
  });
  answers['/v1/fine_tuning/jobs/ftjob-abc'] = cancelled(0);
  show(<JobPage id="ftjob-abc" tab="checkpoints" />);
  await screen.findByText('No checkpoints.');
  cleanup();
  answers['/v1/fine_tuning/jobs/ftjob-abc'] = cancelled(3);
  show(<JobPage id="ftjob-abc" tab="checkpoints" />);
  await screen.findByText('No checkpoints: the run ended before its first one.');
});

it('clears an error when the request is repeated', async () => {
  show(<JobPage id="ftjob-abc" tab={null} />);
  const pause = await screen.findByRole('button', { name: 'Pause' });
  pause.click();
  await screen.findByText('no /v1/fine_tuning/jobs/ftjob-abc/pause');
  answers['/v1/fine_tuning/jobs/ftjob-abc/pause'] = job;
  pause.click();
  await waitFor(() => expect(screen.queryByRole('alert')).toBeNull());
});

it('shows the warnings of a run', async () => {
  const warnings = [
    { code: 'overfitting', message: 'The validation loss has risen since step 10.', step: 40 },
    { code: 'zero_gradient', message: 'Nothing was learned.', step: null },
  ];
  answers['/v1/fine_tuning/jobs/ftjob-abc'] = { ...job, graft: { ...job.graft, warnings } };
  show(<JobPage id="ftjob-abc" tab={null} />);
  const list = await screen.findByRole('list', { name: 'Warnings' });
  expect([...list.children].map((line) => line.textContent)).toEqual([
    '⚠ Warning step 40: The validation loss has risen since step 10.',
    '⚠ Warning Nothing was learned.',
  ]);
});

it('reports a silent worker, although no event does', async () => {
  show(<JobPage id="ftjob-abc" tab={null} />);
  await screen.findByText('Loading the base');
  expect(screen.queryByText(/silent/)).toBeNull();
  const silent = (seconds: number | null) => ({
    ...job,
    graft: {
      ...job.graft,
      worker_silent_seconds: seconds,
      phase: {
        code: 'training',
        message:
          seconds === null
            ? 'Training the adapter'
            : `No heartbeat from its worker for ${seconds} s`,
      },
    },
  });
  answers['/v1/fine_tuning/jobs/ftjob-abc'] = silent(9.4);
  await screen.findByText('its worker has been silent for 9 s');
  expect(screen.getAllByText(/silent/).length).toBe(1);
  answers['/v1/fine_tuning/jobs/ftjob-abc'] = silent(null);
  await waitFor(() => expect(screen.queryByText(/silent/)).toBeNull());
  await screen.findByText('Training the adapter');
});

it('reports that a job does not exist', async () => {
  show(<JobPage id="ftjob-none" tab={null} />);
  expect((await screen.findByRole('alert')).textContent).toContain('There is no job ftjob-none');
});

it('shows the error that broke a page instead of a blank page', () => {
  const complaints = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const Broken = (): never => {
    throw new Error('metrics.steps is undefined');
  };
  const { rerender } = render(
    <ErrorBoundary key="/a">
      <Broken />
    </ErrorBoundary>,
  );
  expect(screen.getByText('Something went wrong on this page')).toBeTruthy();
  expect(screen.getByText('metrics.steps is undefined')).toBeTruthy();
  // Another page has another React key, and works.
  rerender(
    <ErrorBoundary key="/b">
      <p>well</p>
    </ErrorBoundary>,
  );
  expect(screen.getByText('well')).toBeTruthy();
  complaints.mockRestore();
});
