import type { EvalRunObject } from '@graft/contracts';
import { afterEach, expect, it } from 'vitest';
import { FaultyProxy } from '../../../test/chaos/battery/faulty-proxy.js';
import { importBase, POSTGRES_PORT, startTestApi, until, type TestApi } from './fixture.js';
import { loseConnection } from './lost-connection.js';
import { ScriptedWorker } from './scripted-worker.js';

// An eval run whose API process loses the database while it queries the model.

let api: TestApi | undefined;
let proxy: FaultyProxy | undefined;
let worker: ScriptedWorker | undefined;
afterEach(async () => {
  worker?.vanish();
  await api?.close();
  proxy?.close();
});

/** Cancels the waiting statements, as lock_timeout or statement_timeout would. */
const endStatements = (graft: TestApi): Promise<unknown> =>
  graft.query(`SELECT pg_cancel_backend(pid) FROM pg_locks WHERE relation = 'model'::regclass AND NOT granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`);

it.each([
  ['its connections are reset', (_: TestApi, line: FaultyProxy) => line.reset()],
  ['PostgreSQL ends its statements', endStatements],
])('continues if %s, without an error in its items', async (_, lose) => {
  const line = (proxy = await FaultyProxy.to(POSTGRES_PORT));
  const graft = (api = await startTestApi({ databasePort: line.port, leaseMs: 1_500 }));
  await importBase(graft);
  const { id } = await graft.post<{ id: string }>('/evals', {
    data_source_config: { type: 'custom', item_schema: {}, include_sample_schema: true },
    testing_criteria: [
      { type: 'string_check', name: 'same', operation: 'eq', input: '{{sample.output_text}}', reference: 'A' }, // prettier-ignore
    ],
  });
  const run = await graft.post<EvalRunObject>(`/evals/${id}/runs`, {
    data_source: {
      type: 'completions',
      model: 'tiny',
      source: { type: 'file_content', content: [{ item: {} }] },
      input_messages: { type: 'template', template: [{ role: 'user', content: 'Say A' }] },
    },
  });
  // There is no worker yet, so the run retries.
  await loseConnection(graft, 'model', () => lose(graft, line));
  worker = await new ScriptedWorker(graft).connect();
  const answering = worker
    .nextRequest(30_000)
    .then((question) => worker?.sendText(question.id, 'A'));
  answering.catch(() => undefined);
  const now = () => graft.get<EvalRunObject>(`/evals/${id}/runs/${run.id}`).catch(() => null);
  await until(async () => (await now())?.status === 'completed', 30_000);
  expect((await now())?.result_counts).toEqual({ total: 1, passed: 1, failed: 0, errored: 0 });
});
