// Commands that take a model, with the name of its job instead, against a real API with a scripted worker.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EvalRunObject, JobObject } from '@graft/contracts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import {
  evaluated,
  saved,
  ScriptedWorker,
  started,
  step,
} from '../../apps/api/test/scripted-worker.js';
import { graft, type Done } from './graft.js';

let api: TestApi;
let home: string;
let done: JobObject;
const run = (...args: string[]): Promise<Done> => graft(api.home, args);

/** Creates a job with checkpoints at the steps 10 and 20; the first one is the best. */
async function train(suffix: string, end: 'finish' | 'cancel'): Promise<JobObject> {
  const { id } = await api.post<JobObject>('/fine_tuning/jobs', {
    model: 'tiny',
    suffix,
    training_file: await uploadChats(api),
    validation_file: await uploadChats(api),
  });
  const worker = await new ScriptedWorker(api).connect();
  const lease = await worker.nextAssignment();
  await worker.report(lease, started(0, 20));
  for (const [at, loss] of [
    [10, 2],
    [20, 4],
  ] as const) {
    const adapter = [
      await worker.put(lease, 'adapter_config.json', '{"peft_type":"LORA"}'),
      await worker.put(lease, 'adapter_model.safetensors', `${suffix} at ${at}`),
    ];
    await worker.report(lease, step(at), evaluated(at, loss), saved(at, adapter, adapter));
  }
  if (end === 'finish') await worker.finish(lease, 20);
  else await api.post(`/fine_tuning/jobs/${id}/cancel`);
  worker.vanish();
  return api.get<JobObject>(`/fine_tuning/jobs/${id}`);
}

beforeAll(async () => {
  api = await startTestApi();
  home = mkdtempSync(join(tmpdir(), 'graft-cli-names-'));
  await importBase(api);
  done = await train('pirate', 'finish');
  await train('parrot', 'cancel');
});
afterAll(async () => {
  await api?.close();
  if (home) rmSync(home, { recursive: true });
});

const adaptersOf = ({ out, err }: Done): unknown => {
  expect(err).toBe('');
  return (JSON.parse(out) as JobObject).graft.operation?.adapters;
};

it('accept the id, a prefix of the id, the suffix and the name of a job', async () => {
  const model = done.fine_tuned_model;
  for (const name of ['pirate', done.id, done.id.slice(0, 14), `${done.id.slice(0, 14)}…`])
    expect(adaptersOf(await run('--json', 'convert', name, '-r', '2')), name).toEqual([model]);
  await run('job', 'rename', 'pirate', 'captain');
  expect(adaptersOf(await run('--json', 'convert', 'captain', '-r', '2'))).toEqual([model]);
  await run('job', 'rename', 'pirate');
});

it('accept checkpoints as JOB@STEP, JOB@best and JOB@last', async () => {
  const at = (stepNumber: number): string => `${done.fine_tuned_model}:ckpt-step-${stepNumber}`;
  const combined = await run('--json', 'combine', 'pirate@10', 'pirate@best', 'pirate@last');
  expect(adaptersOf(combined)).toEqual([at(10), at(10), at(20)]);
  expect(adaptersOf(await run('--json', 'convert', 'parrot@20', '-r', '2'))).toEqual([
    expect.stringMatching(/^ft:tiny:.*:ckpt-step-20$/),
  ]);
  expect((await run('convert', 'pirate@11', '-r', '2')).err).toBe(
    'graft: pirate has no checkpoint at step 11; available steps: 10, 20\n',
  );
});

it('use a model of this name before a job', async () => {
  await api.post('/fine_tuning/jobs', {
    model: 'tiny',
    suffix: 'tiny',
    training_file: await uploadChats(api),
    graft: { pool: 'nowhere' },
  });
  expect((await run('convert', 'tiny', '-r', '2')).err).toContain('tiny is a whole model');
});

it('report unknown and ambiguous names, and jobs without a model', async () => {
  const unknown = 'graft: no model or job named NOSUCH; see graft models and graft jobs\n';
  for (const args of [
    ['chat', 'NOSUCH', 'hello'],
    ['classify', 'NOSUCH', 'text'],
    ['embed', 'NOSUCH', 'text'],
    ['export', 'NOSUCH'],
    ['export', 'NOSUCH', '--format', 'merged'],
    ['merge', 'NOSUCH'],
    ['convert', 'NOSUCH', '-r', '2'],
    ['combine', 'pirate', 'NOSUCH'],
    ['transcribe', 'none.wav', '--model', 'NOSUCH'],
    ['submit', '--model', 'NOSUCH', '--train', 'file-0'],
  ])
    expect(await run(...args), args.join(' ')).toEqual({ code: 1, out: '', err: unknown });
  expect((await run('merge', 'ftjob-0000000000000000000000')).err).toContain('no model or job');
  const many = await run('merge', 'ftjob-');
  expect(many).toMatchObject({ code: 2, out: '' });
  expect(many.err).toContain('jobs match ftjob-; use an id:');
  expect((await run('merge', 'parrot')).err).toBe(
    'graft: parrot is cancelled and has no model; use one of its checkpoints as parrot@STEP (graft checkpoints parrot lists them)\n',
  );
  await run('convert', 'pirate', '-r', '2', '--suffix', 'later', '--pool', 'nowhere');
  expect((await run('merge', 'later')).err).toContain(
    'later is queued and has no model yet; wait until it succeeds (graft watch later)',
  );
});

it('need no right to list jobs for the id of a model', async () => {
  const key = (await run('keys', 'create', 'bot', '--scope', 'models:read')).out.trim();
  const asBot = (...args: string[]): Promise<Done> =>
    graft(api.home, args, '', { GRAFT_API_KEY: key });
  expect((await asBot('embed', 'pirate', 'text')).err).toContain('no model or job named pirate');
  expect((await asBot('embed', done.fine_tuned_model!, 'text')).err).toContain('not vectors');
});

it('work for chats, labels, vectors, transcripts, exports, evals and new jobs', async () => {
  const model = done.fine_tuned_model!;
  const worker = await new ScriptedWorker(api, { maxChats: 4 }).connect();
  const chat = run('chat', 'pirate', 'hello');
  worker.sendText((await worker.nextRequest()).id, 'Arr');
  expect(await chat).toMatchObject({ code: 0, out: 'Arr\n' });
  worker.vanish();
  // These need another base; the error names the model.
  const wav = join(home, 'talk.wav');
  writeFileSync(wav, 'RIFF');
  for (const args of [
    ['classify', 'pirate', 'text'],
    ['embed', 'pirate', 'text'],
    ['transcribe', wav, '--model', 'pirate'],
  ])
    expect((await run(...args)).err, args[0]).toContain(model);
  const out = join(home, 'adapter');
  expect(await run('export', 'pirate@10', '-o', out)).toMatchObject({ code: 0 });
  expect(readFileSync(join(out, 'adapter_model.safetensors'), 'utf8')).toBe('pirate at 10');

  const item = { type: 'object', properties: { word: { type: 'string' } } };
  const grader = {
    type: 'string_check',
    name: 'same',
    operation: 'eq',
    input: 'a',
    reference: 'a',
  };
  writeFileSync(
    join(home, 'eval.json'),
    JSON.stringify({
      name: 'words',
      data_source_config: { type: 'custom', item_schema: item, include_sample_schema: true },
      testing_criteria: [grader],
    }),
  );
  expect(await run('evals', 'create', join(home, 'eval.json'))).toMatchObject({ code: 0 });
  const items = join(home, 'items.jsonl');
  writeFileSync(items, '{"item":{"word":"a"}}\n');
  const flags = ['--model', 'pirate', '--items', items, '--ask', '{{item.word}}'];
  const evaluation = await run('--json', 'evals', 'run', 'words', ...flags);
  expect(JSON.parse(evaluation.out) as EvalRunObject).toMatchObject({ model });

  const file = await uploadChats(api);
  const more = await run('--json', 'submit', '--model', 'pirate', '--train', file);
  expect(JSON.parse(more.out) as JobObject).toMatchObject({ model });
});
