import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobObject, MetricsObject, SweepObject } from '@graft/contracts';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { evaluated, ScriptedWorker, started, step } from '../../apps/api/test/scripted-worker.js';
import { cleanEnv, CLI, graft } from './graft.js';

// `graft mcp` against a real API, driven by the client of the MCP SDK.

let home: string;
let api: TestApi;
let file: string;
let done: string;
const clients: Client[] = [];

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'graft-cli-'));
  api = await startTestApi();
  const credentials = { url: `${api.url}/v1`, api_key: api.apiKey };
  writeFileSync(join(home, 'credentials.json'), JSON.stringify(credentials));
  await importBase(api);
  file = await uploadChats(api);
  const { id } = await create({ suffix: 'pirate', peft: { peft_type: 'LORA', use_dora: true } });
  done = id;
  const worker = await new ScriptedWorker(api).connect();
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  const steps = Array.from({ length: 100 }, (_, n) => step(n + 1));
  await worker.report(lease, started(0, 100), ...steps, evaluated(100, 1.5));
  await worker.finish(lease, 100);
  worker.vanish();
});
afterAll(async () => {
  for (const client of clients) await client.close();
  await api?.close();
  rmSync(home, { recursive: true, force: true });
});

const body = (more: object = {}): Record<string, unknown> => ({
  model: 'tiny',
  training_file: file,
  ...more,
});
const create = (more: object): Promise<JobObject> =>
  api.post<JobObject>('/fine_tuning/jobs', body(more));

async function open(...flags: string[]): Promise<Client> {
  const client = new Client({ name: 'a test', version: '0' });
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [CLI, 'mcp', ...flags],
    env: cleanEnv({ GRAFT_HOME: home }) as Record<string, string>,
    stderr: 'inherit',
  });
  clients.push(client);
  await client.connect(transport);
  return client;
}

type Args = Record<string, unknown>;

async function call(client: Client, name: string, args: Args) {
  const { content, isError = false } = await client.callTool({ name, arguments: args });
  const [{ text }] = content as [{ text: string }];
  return { text, isError };
}

async function ask<Answer = unknown>(client: Client, name: string, args: Args = {}) {
  const { text, isError } = await call(client, name, args);
  expect(isError, text).toBe(false);
  return JSON.parse(text) as Answer;
}

async function refusal(client: Client, name: string, args: Args): Promise<string> {
  const { text, isError } = await call(client, name, args);
  expect(isError, text).toBe(true);
  return text;
}

describe('without --allow-changes', () => {
  let client: Client;
  beforeAll(async () => (client = await open()));

  it('has only read-only tools, marked as such', async () => {
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toEqual([
      ...['list_jobs', 'get_job', 'list_job_events', 'get_job_metrics', 'list_checkpoints'],
      ...['list_sweeps', 'get_sweep', 'list_models', 'list_files', 'list_workers'],
      ...['get_catalog', 'preview_job'],
    ]);
    expect(tools.every(({ annotations }) => annotations?.readOnlyHint === true)).toBe(true);
    for (const name of ['create_job', 'create_sweep'])
      expect(await refusal(client, name, { body: body() })).toContain(name);
    expect(await api.query('SELECT id FROM job')).toEqual([{ id: done }]);
  });

  it('reads jobs, events, metrics, models, files and workers', async () => {
    expect(await ask(client, 'list_jobs', { status: 'succeeded' })).toMatchObject([
      { id: done, suffix: 'pirate', method: 'DoRA', step: 100, total_steps: 100 },
    ]);
    expect(await ask(client, 'list_jobs', { search: 'nothing like it' })).toEqual([]);
    const job = await ask<JobObject>(client, 'get_job', { job: 'pirate' });
    expect(job).toMatchObject({ id: done, status: 'succeeded' });
    const events = await ask<object[]>(client, 'list_job_events', { job: done, limit: 3 });
    expect(events).toHaveLength(3);
    const args = { job: done, points: 4 };
    const { steps, series, evaluations } = await ask<MetricsObject>(
      client,
      'get_job_metrics',
      args,
    );
    expect(steps).toEqual([25, 50, 75, 100]);
    expect(series).toMatchObject({ loss: [25, 50, 75, 100].map((n) => 4 - n / 10) });
    expect(evaluations).toMatchObject([{ step: 100, loss: 1.5 }]);
    const idsOf = async (tool: string) =>
      (await ask<{ id: string }[]>(client, tool)).map(({ id }) => id);
    expect(await idsOf('list_models')).toEqual(
      expect.arrayContaining(['tiny', job.fine_tuned_model]),
    );
    expect(await idsOf('list_files')).toContain(file);
    expect(await ask(client, 'list_workers')).toMatchObject([{ name: 'scripted' }]);
    const preview = await ask(client, 'preview_job', { body: body() });
    expect(preview).toMatchObject({ examples: 12 });
  });

  it('lists the names of the catalog, and returns one entry in full', async () => {
    const names = await ask(client, 'get_catalog');
    expect(names).toMatchObject({
      methods: { LORA: expect.any(String), IA3: expect.any(String) },
      tasks: { causal_lm: expect.any(String) },
      families: { llama: expect.any(String) },
      quantizers: { nf4: expect.any(String) },
    });
    expect(JSON.stringify(names)).not.toContain('schema');
    const lora = await ask(client, 'get_catalog', { name: 'lora' });
    expect(lora).toMatchObject({ peft_type: 'LORA', schema: { properties: { r: {} } } });
    const dpo = await ask(client, 'get_catalog', { name: 'dpo' });
    expect(dpo).toMatchObject({ name: 'dpo', schema: { properties: { beta: {} } } });
    const graftOptions = await ask(client, 'get_catalog', { name: 'graft' });
    expect(graftOptions).toMatchObject({ properties: { learning_rate: {} } });
    expect(await refusal(client, 'get_catalog', { name: 'unknown' })).toBe(
      'the catalog has no entry named unknown; call get_catalog without a name to list the names',
    );
  });

  it('returns the error messages of the API', async () => {
    const nobody = await refusal(client, 'get_job', { job: 'unknown' });
    expect(nobody).toBe('no job named unknown; see graft jobs');
    const bad = await refusal(client, 'preview_job', { body: { model: 'tiny' } });
    expect(bad).toBe('training_file is required');
    expect(await refusal(client, 'list_jobs', { limit: 1000 })).toContain('limit');
  });
});

it('creates and cancels jobs with --allow-changes', async () => {
  const client = await open('--allow-changes');
  const { tools } = await client.listTools();
  const [creates, cancels] = [false, true].map((destructiveHint) => ({
    annotations: { readOnlyHint: false, destructiveHint },
  }));
  expect(tools.slice(-4)).toMatchObject([
    { name: 'create_job', ...creates },
    { name: 'cancel_job', ...cancels },
    { name: 'create_sweep', ...creates },
    { name: 'cancel_sweep', ...cancels },
  ]);
  const made = await ask<JobObject>(client, 'create_job', {
    body: body({ graft: { pool: 'unknown' } }),
  });
  expect(made).toMatchObject({ object: 'fine_tuning.job', status: 'queued' });
  expect(await ask(client, 'cancel_job', { job: made.id })).toMatchObject({ status: 'cancelled' });
  expect(await api.get(`/fine_tuning/jobs/${made.id}`)).toMatchObject({ status: 'cancelled' });
});

it('creates, reads and cancels sweeps', async () => {
  const client = await open('--allow-changes');
  const search = { algorithm: 'grid', parameters: { 'peft.r': [4, 8] } };
  const peft = { peft_type: 'LORA' };
  const args = body({ suffix: 'ranks', peft, search, graft: { pool: 'unknown' } });
  const made = await ask<SweepObject>(client, 'create_sweep', { body: args });
  expect(made.trials?.map(({ options }) => options)).toEqual([{ 'peft.r': 4 }, { 'peft.r': 8 }]);
  expect(await ask(client, 'list_sweeps')).toMatchObject([{ id: made.id, status: 'queued' }]);
  const read = await ask<SweepObject>(client, 'get_sweep', { sweep: 'ranks' });
  expect(read).toMatchObject({ id: made.id, trial_counts: { total: 2, queued: 2 } });
  const bad = await refusal(client, 'create_sweep', { body: body() });
  expect(bad).toBe('search is required');
  expect(await refusal(client, 'cancel_sweep', { sweep: 'nothing' })).toContain('no sweep named');
  const cancelled = await ask(client, 'cancel_sweep', { sweep: made.id.slice(0, 12) });
  expect(cancelled).toMatchObject({ id: made.id, status: 'cancelled' });
  expect(await api.get(`/sweeps/${made.id}`)).toMatchObject({ status: 'cancelled' });
});

it('`graft help` has topics from the catalog of the API', async () => {
  const { out } = await graft(home, ['help', 'tasks']);
  expect(out).toContain('{"prompt":"…","completion":"…"}');
  expect((await graft(home, ['help', 'methods'])).out).toContain('IA3');
});
