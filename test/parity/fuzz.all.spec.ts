// A schema fuzzer against a real API: every request, whether or not the OpenAPI document allows it, gets a
// documented response.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobObject } from '@graft/contracts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { undocumented } from '../../apps/api/test/checked-answers.js';
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

const VENV = process.env['GRAFT_FUZZ_VENV'] ?? join(import.meta.dirname, '../../.venv-fuzz');
const ready = existsSync(join(VENV, 'pins.sha256'));
const missing = `${VENV} is missing (python3 test/parity/fuzz.py makes it)`;

/** Examples per operation and fuzzing phase. */
const EXAMPLES = 8;
const SEED = 20_261_126;
/** Excluded because streams never end, and deliveries would go to another host. */
const LEFT_OUT = 'stream$|webhook_endpoints/.*/(test|retry)$';

let dir: string;
let api: TestApi;
let worker: ScriptedWorker;
let answering: NodeJS.Timeout;
let there: Record<string, Record<string, string>>;

/** Creates one object of each kind that paths refer to. */
async function things(): Promise<typeof there> {
  const file = await uploadChats(api);
  const { id: job } = await api.post<JobObject>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: file,
    validation_file: file,
  });
  const lease = await worker.nextAssignment();
  await worker.report(lease, started(0, 10), step(1), evaluated(1, 2));
  const state = await worker.put(lease, 'adapter.safetensors', 'state');
  await worker.report(lease, saved(1, [state], [state]));
  await worker.finish(lease, 10);
  const { fine_tuned_model: model } = await api.get<JobObject>(`/fine_tuning/jobs/${job}`);
  const made = async (path: string, body: object): Promise<string> =>
    (await api.post<{ id: string }>(path, body)).id;
  const criterion = {
    type: 'string_check',
    name: 'same',
    operation: 'eq',
    input: '{{sample.output_text}}',
    reference: '{{item.answer}}',
  };
  const config = { type: 'custom', item_schema: { type: 'object' }, include_sample_schema: true };
  const evaluation = await made('/evals', {
    name: 'words',
    data_source_config: config,
    testing_criteria: [criterion],
  });
  const content = [{ item: { answer: 'x' }, sample: { output_text: 'x' } }];
  const run = await made(`/evals/${evaluation}/runs`, {
    data_source: { type: 'jsonl', source: { type: 'file_content', content } },
  });
  const project = await made('/organization/projects', { name: 'fuzzed' });
  const endpoint = await made('/webhook_endpoints', {
    name: 'ours',
    url: 'https://example.com/hook',
  });
  const upload = { filename: 'a.jsonl', purpose: 'fine-tune', bytes: 10, mime_type: 'text/jsonl' };
  return {
    '/v1/files/': { id: file },
    '/v1/uploads/': { id: await made('/uploads', upload) },
    '/v1/fine_tuning/jobs/': { id: job },
    '/v1/models/': { id: model ?? '' },
    '/v1/evals/': { id: evaluation, run, item: `outputitem_${run}_0` },
    '/v1/webhook_endpoints/': { id: endpoint },
    '/v1/organization/projects/': { id: project },
    '/v1/pools/': { name: 'default' },
  };
}

function fuzz(): Promise<{ code: number | null; out: string }> {
  const args = [
    ...['run', `${api.url}/docs-json`, '--url', api.url],
    ...['--phases', 'examples,coverage,fuzzing', '--max-examples', String(EXAMPLES)],
    ...['--seed', String(SEED), '--no-shrink', '--workers', '2', '--continue-on-failure'],
    ...['--checks', 'answers_as_documented,content_type_conformance,response_schema_conformance'],
    ...[
      '--request-timeout',
      '20',
      '--generation-database',
      'none',
      '--no-color',
      '--warnings',
      'off',
    ],
    ...['--exclude-path-regex', LEFT_OUT],
    ...Object.entries(api.headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]),
  ];
  const child = spawn(join(VENV, 'bin/schemathesis'), args, {
    cwd: dir,
    env: {
      ...process.env,
      SCHEMATHESIS_HOOKS: 'fuzz_checks',
      PYTHONPATH: import.meta.dirname,
      PYTHONDONTWRITEBYTECODE: '1',
      GRAFT_FUZZ_THERE: JSON.stringify(there),
    },
  });
  let out = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (out += chunk.toString()));
  return once(child, 'close').then(([code]) => ({ code: code as number | null, out }));
}

describe.skipIf(!ready)(`the OpenAPI document${ready ? '' : ` (skipped: ${missing})`}`, () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-fuzz-'));
    api = await startTestApi();
    await importBase(api);
    worker = await new ScriptedWorker(api, { maxChats: 64 }).connect();
    there = await things();
    let seen = 0;
    answering = setInterval(() => {
      for (; seen < worker.requests.length; seen++) worker.sendText(worker.requests[seen]!.id, 'x');
    }, 10);
  });
  afterAll(async () => {
    clearInterval(answering);
    worker?.vanish();
    undocumented();
    await api?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it('returns no 5xx, and only documented responses', async () => {
    const { code, out } = await fuzz();
    expect(code, out).toBe(0);
    expect(out).toMatch(/\d+ generated, .*\d+ passed|No issues found/);
    // The fuzzer also sends unknown query parameters, which the API ignores.
    const wrong = undocumented().filter((one) => !/the query's .* is not documented$/s.test(one));
    expect(wrong).toEqual([]);
  }, 240_000);
});
