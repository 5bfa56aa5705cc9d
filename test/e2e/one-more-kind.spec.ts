// Checks that a kind of event is declared in one place, the messages of contracts, and reported in one.
// Everything else follows: the trainer's frames, the agent, gRPC, the database, API responses, the live
// stream, `graft logs` and the dashboard.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  runEvent,
  runEvents,
  type JobEventObject,
  type Page,
  type RunEvent,
  type RunEventKind,
  type Spec,
} from '@graft/contracts';
import type { Assignment, Event } from '@graft/contracts/grpc';
import { loadBase, openRun, RunGroup, takeTurn, type Run, type RunFact } from '@graft/peft-core';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { z } from 'zod';
import {
  importBase,
  startTestApi,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { ScriptedWorker, started } from '../../apps/api/test/scripted-worker.js';
import { AttemptEvents } from '../../apps/worker/src/attempts/attempt-events.js';
import { encodeFact } from '../../apps/worker/src/protocol/fact-frames.js';
import { readFact } from '../../apps/worker/src/protocol/fact-schema.js';
import { FrameDecoder } from '../../apps/worker/src/protocol/frames.js';
import { eventOf } from '../../apps/worker/src/trainer/training-runs.js';
import { graft } from '../cli/graft.js';
import { writeChats, writeTinyBase } from '../tiny-base.js';
import { buildDashboard, findBrowser, startBrowser, Tabs } from './browser.js';

// The API's bundle has its own copy of the registry. The compiled files share the one below.
vi.mock('@graft/api', () => import('../../apps/api/dist/index.js'));

// The declaration.
const oneMoreThing = runEvent('one_more_thing', {
  payload: z.object({ step: z.int(), surprises: z.array(z.string()).max(3) }),
  stored: 'event',
  line: ({ step, surprises }, { totalSteps }) =>
    `Step ${step} of ${totalSteps} had ${surprises.length} surprises`,
});
const kinds = runEvents as unknown as RunEventKind[];

const REPORTED = { step: 1, surprises: ['one', 'two'] };
const LINE = 'Step 1 of 2 had 2 surprises';

// The producer: work that the run does between its steps.
function withSurprises(run: Run): Run {
  let isOver = false;
  run.beginSamples = () => {
    if (isOver || run.step !== REPORTED.step) return null;
    isOver = true;
    return {
      what: 'Its surprises',
      isOfStep: true,
      next: () => ({ type: oneMoreThing.kind, ...REPORTED }) as unknown as RunFact,
      dispose: () => undefined,
    };
  };
  return run;
}

const spec: Spec = {
  model: 'base',
  task: 'causal_lm',
  task_options: {},
  peft: { peft_type: 'LORA', r: 2 },
  seed: 1,
  batch_size: 4,
  n_epochs: 1,
  max_steps: null,
  learning_rate: 0.01,
  lr_schedule: 'linear',
  warmup_ratio: 0,
  optimizer: 'adamw',
  weight_decay: 0,
  loraplus_lr_ratio: null,
  loraplus_lr_embedding: 1e-6,
  max_grad_norm: 1,
  gradient_accumulation_steps: 1,
  gradient_checkpointing: false,
  max_seq_len: null,
  shuffle: false,
  validation_split: null,
  eval_steps: 0,
  early_stopping_patience: null,
  save_steps: 0,
  base_dtype: 'f32',
  quantization: null,
};

/** Facts that a real run on eight chats reports. */
function trained(): RunFact[] {
  const base = loadBase(writeTinyBase(join(dir, 'base')), { dtype: 'f32', quantization: null });
  writeChats(join(dir, 'train.jsonl'), 8);
  const run = openRun(base, spec, {
    id: 1,
    baseId: 'base',
    trainFile: join(dir, 'train.jsonl'),
    validFile: null,
    workDir: join(dir, 'work'),
  });
  const facts: RunFact[] = [];
  const group = new RunGroup(base.model);
  group.add(withSurprises(run));
  while (group.size > 0) takeTurn(group, (_, fact) => void facts.push(fact));
  base.dispose();
  return facts;
}

/** Events that the control plane receives for these facts, through the trainer's frames and the agent. */
function eventsOf({ jobId, attempt }: Assignment, facts: readonly RunFact[]): Event[] {
  const key = { jobId, attempt };
  const events: Event[] = [];
  const agent = new AttemptEvents(key, { add: (event) => void events.push(event) });
  agent.add(started(0, 2) as RunEvent);
  const decoder = new FrameDecoder();
  for (const fact of facts)
    for (const frame of decoder.push(encodeFact(eventOf(key, fact)).frame)) {
      const read = readFact(frame);
      if (read.type === 'event') agent.forward(read.kind, read.json);
    }
  return events;
}

let api: TestApi;
let worker: ScriptedWorker;
let facts: readonly RunFact[];
let lease: Assignment;
let id: string;
const program = findBrowser();
const dir = mkdtempSync(join(tmpdir(), 'graft-kind-'));

beforeAll(async () => {
  kinds.push(oneMoreThing);
  // before the API starts: training blocks this process, which would not notice closed connections
  facts = trained().filter(({ type }) => type !== 'saved' && type !== 'finished');
  expect(facts.map(({ type }) => type)).toEqual(['step', 'one_more_thing', 'step']);
  const dashboardDir = join(dir, 'built');
  if (program) buildDashboard(dashboardDir);
  api = await startTestApi(program ? { dashboardDir } : {});
  await importBase(api);
  const job = { model: 'tiny', training_file: await uploadChats(api) };
  ({ id } = await api.post<{ id: string }>('/fine_tuning/jobs', job));
  worker = await new ScriptedWorker(api).connect();
  lease = await worker.nextAssignment();
  worker.keep(lease);
  expect((await worker.batch(eventsOf(lease, facts))).stale).toEqual([]);
});
afterAll(async () => {
  kinds.splice(kinds.indexOf(oneMoreThing), 1);
  worker?.vanish();
  await api?.close();
  rmSync(dir, { recursive: true, force: true });
});

/** First event of the kind in the job's stream. */
async function streamed(): Promise<JobEventObject> {
  const leave = new AbortController();
  const path = `${api.url}/v1/fine_tuning/jobs/${id}/stream`;
  const { body } = await fetch(path, { headers: api.headers, signal: leave.signal });
  let text = '';
  try {
    for await (const chunk of body ?? []) {
      text += Buffer.from(chunk).toString();
      for (const [, data = ''] of text.matchAll(/^event: event\n(?:id: \d+\n)?data: (.*)\n/gm)) {
        const event = JSON.parse(data) as JobEventObject;
        if ((event.graft.kind as string) === oneMoreThing.kind) return event;
      }
    }
  } finally {
    leave.abort();
  }
  throw new Error('the stream ended without it');
}

it('is in the database, the events, the stream and the log', async () => {
  const rows = await api.query('SELECT message, data FROM event WHERE job_id = $1 AND kind = $2', [
    id,
    oneMoreThing.kind,
  ]);
  expect(rows).toEqual([{ message: LINE, data: REPORTED }]);
  const events = await api.get<Page<JobEventObject>>(`/fine_tuning/jobs/${id}/events?limit=100`);
  const event = events.data.find(({ message }) => message === LINE);
  expect(event).toMatchObject({
    type: 'message',
    level: 'info',
    data: REPORTED,
    graft: { kind: oneMoreThing.kind },
  });
  expect(await streamed()).toEqual(event);
  const { out } = await graft(api.home, ['logs', id]);
  expect(out).toContain(LINE);
});

it('is stored once if a resumed run reports it again', async () => {
  const drained: RunFact = { type: 'stopped', reason: 'drain', step: 2 };
  await worker.batch(eventsOf(lease, [...facts, drained]));
  const again = await worker.nextAssignment();
  const repeated = facts.filter(({ type }) => type !== 'step');
  expect((await worker.batch(eventsOf(again, repeated))).stale).toEqual([]);
  const [row] = await api.query('SELECT count(*)::int FROM event WHERE job_id = $1 AND kind = $2', [
    id,
    oneMoreThing.kind,
  ]);
  expect(row).toEqual({ count: 1 });
});

it.skipIf(!program)('is shown on the page of the job', async () => {
  const browser = await startBrowser();
  const tabs = new Tabs(browser, api);
  try {
    const page = await tabs.open(`/jobs/${id}`);
    await page.getByRole('tab', { name: 'Log' }).click();
    await page.getByText(LINE).waitFor();
    expect(tabs.problems()).toEqual([]);
  } finally {
    await tabs.close();
    await browser.close();
  }
});
