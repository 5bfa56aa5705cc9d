// Checks that a metric of a step is declared in one place, the metrics of its task. Everything else follows:
// the trainer's facts, gRPC, the database, the live stream, API responses, the CSV file and the catalog for
// charts.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Catalog, JobEventObject, MetricsObject, Page } from '@graft/contracts';
import { causalLm, loadBase, openRun, RunGroup, runEventOf, takeTurn } from '@graft/peft-core';
import type { FactOfRun, RunFact } from '@graft/peft-core';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import {
  importBase,
  startTestApi,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { finished, saved, ScriptedWorker, started } from '../../apps/api/test/scripted-worker.js';
import { testSpec } from '../test-spec.js';
import { writeChats, writeTinyBase } from '../tiny-base.js';

// The API's bundle has its own copy of the registry. The compiled files share the one below.
vi.mock('@graft/api', () => import('../../apps/api/dist/index.js'));

type Metric = (typeof causalLm.metrics)[number];

// The only declaration.
const perplexity: Metric = {
  name: 'perplexity',
  title: 'Perplexity',
  unit: null,
  draw: { smooth: true, log: true },
  of: ({ units, totals }) => Math.exp((totals['loss'] ?? 0) / units),
};
const metrics = causalLm.metrics as Metric[];

let api: TestApi;
let facts: readonly RunFact[];
const dir = mkdtempSync(join(tmpdir(), 'graft-number-'));
beforeAll(async () => {
  metrics.push(perplexity);
  // before the API starts: training blocks this process, which would not notice closed connections
  facts = trained();
  api = await startTestApi();
  await importBase(api);
});
afterAll(async () => {
  metrics.splice(metrics.indexOf(perplexity), 1);
  await api?.close();
  rmSync(dir, { recursive: true, force: true });
});

const spec = testSpec({
  peft: { peft_type: 'LORA', r: 2 },
  shuffle: false,
});

/** Facts that a real run on eight chats reports. */
function trained(): RunFact[] {
  const base = loadBase(writeTinyBase(join(dir, 'base')), { dtype: 'f32', quantization: null });
  writeChats(join(dir, 'train.jsonl'), 8);
  writeChats(join(dir, 'valid.jsonl'), 3, 50);
  const run = openRun(base, spec, {
    id: 1,
    baseId: 'base',
    trainFile: join(dir, 'train.jsonl'),
    validFile: join(dir, 'valid.jsonl'),
    workDir: join(dir, 'work'),
  });
  const facts: RunFact[] = [];
  const group = new RunGroup(base.model);
  group.add(run);
  while (group.size > 0) takeTurn(group, (_, fact) => void facts.push(fact));
  base.dispose();
  return facts;
}

const ofType = <K extends RunFact['type']>(facts: readonly RunFact[], type: K): FactOfRun<K>[] =>
  facts.filter((fact): fact is FactOfRun<K> => fact.type === type);

/** Metrics of the first step in the stream. */
async function streamed(path: string): Promise<unknown> {
  const leave = new AbortController();
  const { signal } = leave;
  const response = await fetch(`${api.url}/v1${path}`, { headers: api.headers, signal });
  let text = '';
  try {
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString();
      const found = /^event: metrics\n(?:id: \d+\n)?data: (.*)\n/m.exec(text)?.[1];
      if (found !== undefined) return JSON.parse(found);
    }
  } finally {
    leave.abort();
  }
  throw new Error('the stream ended without a step');
}

it('is in the catalog, the database, the stream, the API responses and the CSV file', async () => {
  const [step] = ofType(facts, 'step');
  const [evaluation] = ofType(facts, 'evaluated');
  const number = step?.metrics['perplexity'];
  expect(number).toBeCloseTo(Math.exp(step?.metrics.loss ?? NaN), 6);

  const file = await uploadChats(api);
  const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: file,
  });
  const worker = await new ScriptedWorker(api).connect();
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  await worker.report(lease, started(0, 2));
  for (const type of ['step', 'evaluated'] as const)
    for (const fact of ofType(facts, type)) await worker.report(lease, runEventOf(fact));

  const { tasks } = await api.get<Catalog>('/catalog');
  const { of: _of, ...description } = perplexity;
  for (const where of ['step', 'validation'] as const)
    expect(tasks.find(({ name }) => name === 'causal_lm')?.metrics[where]).toContainEqual(
      description,
    );
  const rows = await api.query<{ values: Record<string, number> }>(
    'SELECT values FROM metric WHERE job_id = $1 ORDER BY step',
    [id],
  );
  expect(rows).toHaveLength(2);
  expect(rows[0]?.values['perplexity']).toBe(number);
  expect(await streamed(`/fine_tuning/jobs/${id}/stream`)).toMatchObject({
    step: 1,
    perplexity: number,
  });
  const curve = await api.get<MetricsObject>(`/fine_tuning/jobs/${id}/metrics`);
  expect(curve.series['perplexity']?.[0]).toBe(number);
  expect(curve.evaluations[0]?.['perplexity']).toBe(evaluation?.metrics['perplexity']);
  const events = await api.get<Page<JobEventObject>>(`/fine_tuning/jobs/${id}/events?limit=100`);
  expect(events.data.findLast(({ graft }) => graft.kind === 'step')?.data).toMatchObject({
    step: 1,
    train_perplexity: number,
  });

  const config = await worker.put(lease, 'adapter_config.json', '{"peft_type":"LORA"}');
  const weights = await worker.put(lease, 'adapter_model.safetensors', 'weights');
  await worker.report(lease, saved(2, [config, weights], [config, weights]));
  await worker.report(lease, finished(2, [config, weights]));
  const [checkpoint] = (
    await api.get<Page<{ metrics: Record<string, number> }>>(`/fine_tuning/jobs/${id}/checkpoints`)
  ).data;
  expect(checkpoint?.metrics['full_valid_perplexity']).toBe(evaluation?.metrics['perplexity']);
  const job = await api.get<{ result_files: string[] }>(`/fine_tuning/jobs/${id}`);
  const csv = await (await api.client.files.content(job.result_files[0] as string)).text();
  const [header = [], first = []] = csv.split('\n').map((line) => line.split(','));
  expect(header.slice(0, 5).join()).toBe(
    'step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy',
  );
  expect(first[header.indexOf('train_perplexity')]).toBe(String(number));
  expect(header).toContain('valid_perplexity');
  worker.vanish();
});
