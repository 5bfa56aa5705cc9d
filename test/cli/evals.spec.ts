// graft evals against a real API, with a scripted worker.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { importBase, startTestApi, type TestApi } from '../../apps/api/test/fixture.js';
import { makeProject, type TestProject } from '../../apps/api/test/projects.js';
import { ScriptedWorker } from '../../apps/api/test/scripted-worker.js';
import { graft, type Done } from './graft.js';

let api: TestApi;
let project: TestProject;
let dir: string;
let projects = 0;

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
});
afterAll(() => api?.close());
beforeEach(async () => {
  project = await makeProject(api, `evals-${++projects}`);
  dir = mkdtempSync(join(tmpdir(), 'graft-evals-'));
  writeFileSync(join(dir, 'eval.json'), JSON.stringify(EVAL));
  return () => rmSync(dir, { recursive: true, force: true });
});

const run = (...args: string[]): Promise<Done> =>
  graft(api.home, ['evals', ...args], '', {
    GRAFT_URL: api.url,
    GRAFT_API_KEY: project.member.key,
  });

const EVAL = {
  name: 'Words in capitals',
  data_source_config: {
    type: 'custom',
    item_schema: { type: 'object', required: ['word', 'answer'] },
    include_sample_schema: true,
  },
  testing_criteria: [
    {
      type: 'string_check',
      name: 'same',
      operation: 'eq',
      input: '{{sample.output_text}}',
      reference: '{{item.answer}}',
    },
    {
      type: 'text_similarity',
      name: 'near',
      evaluation_metric: 'fuzzy_match',
      input: '{{sample.output_text}}',
      reference: '{{item.answer}}',
      pass_threshold: 0.6,
    },
  ],
};
const ROWS = ['abc', 'bcd', 'cde'].map((word) => ({ word, answer: word.toUpperCase() }));

/** Writes the body of a run that grades existing answers. Returns its path. */
function answers(name: string, texts: readonly string[]): string {
  const content = ROWS.map((item, n) => ({ item, sample: { output_text: texts[n] } }));
  const path = join(dir, `${name}.json`);
  const data_source = { type: 'jsonl', source: { type: 'file_content', content } };
  writeFileSync(path, JSON.stringify({ name, data_source }));
  return path;
}

it('creates an eval, grades answers, and shows, compares and deletes the runs', async () => {
  expect((await run()).out).toContain('no evals yet');
  expect((await run('create', join(dir, 'eval.json'))).out).toMatch(/^eval_\w+ Words in capitals/);
  expect((await run()).out).toMatch(/eval_\w+ +Words in capitals +same, near/);
  const first = await run(
    'run',
    'Words in capitals',
    answers('before', ['abc', 'BCD', 'CDx']),
    '--watch',
  );
  expect(first).toMatchObject({ code: 0 });
  expect(first.out).toMatch(
    /passed +1 of 3 \(33 %\)\n +same: 1 passed, 2 failed\n +near: 2 passed, 1 failed/,
  );
  await run('run', 'Words in capitals', answers('after', ['ABC', 'BCD', 'nothing']), '--watch');
  const shown = await run('show', 'Words in capitals');
  expect(shown.out).toMatch(/same: string_check/);
  expect(shown.out).toMatch(
    /evalrun_\w+ +after +none \(answers from file\) +completed +2 of 3 \(67 %\)/,
  );
  const results = await run('results', 'Words in capitals', 'before', '--status', 'fail');
  expect(results.out).toMatch(/0 +fail +✕ 0 +✕ 0 +abc · ABC +abc/);
  expect(results.out).toMatch(/2 +fail +✕ 0 +✓ 0\.667 +cde · CDE +CDx/);
  expect(results.out).not.toContain('BCD');
  const compared = await run('compare', 'Words in capitals', 'before', 'after');
  expect(compared.out).toMatch(/passed +1 of 3 \(33 %\) +2 of 3 \(67 %\)\nsame +1 +2\nnear +2 +2/);
  expect(compared.out).toContain(
    '3 items in both runs: 0 pass only on the left, 1 only on the right',
  );
  expect(compared.out).toMatch(/abc · ABC +fail: abc +pass: ABC/);
  expect(compared.out).not.toContain('CDx');
  expect((await run('delete', 'Words in capitals')).out).toMatch(/^eval_\w+ deleted/);
  expect((await run()).out).toContain('no evals yet');
});

it('evaluates a model by flags, shows progress, and cancels', async () => {
  await run('create', join(dir, 'eval.json'));
  const items = join(dir, 'items.jsonl');
  writeFileSync(items, ROWS.map((item) => `${JSON.stringify({ item })}\n`).join(''));
  const flags = ['--model', 'tiny', '--items', items, '--ask', 'In capitals: {{item.word}}'];
  const waiting = await run('--json', 'run', 'Words in capitals', ...flags, '--max-tokens', '3');
  const made = JSON.parse(waiting.out) as { id: string; data_source: object };
  expect(made.data_source).toMatchObject({
    type: 'completions',
    model: 'tiny',
    sampling_params: { max_completion_tokens: 3 },
  });
  expect((await run('cancel', 'Words in capitals', made.id)).out).toBe(`${made.id} canceled\n`);
  const worker = await new ScriptedWorker(api, { maxChats: 4 }).connect();
  const watched = run('run', 'Words in capitals', ...flags, '--name', 'asked', '--watch');
  for (let n = 0; n < ROWS.length; n++) {
    const question = await worker.nextRequest();
    const [, word = ''] = /In capitals: (\w+)/.exec(JSON.stringify(question.messages)) ?? [];
    worker.sendText(question.id, word.toUpperCase());
  }
  expect(await watched).toMatchObject({ code: 0, out: expect.stringContaining('3 of 3 (100 %)') });
  worker.vanish();
  const found = await run('--json', 'results', 'Words in capitals', 'asked');
  expect(JSON.parse(found.out)).toMatchObject({ model: 'tiny', output_items: [{}, {}, {}] });
});

it('reports missing and invalid arguments', async () => {
  await run('create', join(dir, 'eval.json'));
  writeFileSync(join(dir, 'bad.json'), '[1]');
  for (const [args, code, message] of [
    [['show', 'nothing'], 1, 'no eval named nothing; see graft evals'],
    [['results', 'Words in capitals', 'none'], 1, 'no run named none'],
    [['run', 'Words in capitals'], 2, 'specify a FILE, or --model, --items and --ask'],
    [['create', join(dir, 'bad.json')], 2, 'the body of POST /v1/evals'],
    [['create', join(dir, 'none.json')], 2, 'cannot read'],
  ] as const) {
    const refused = await run(...args);
    expect([refused.code, refused.out]).toEqual([code, '']);
    expect(refused.err).toContain(message);
  }
  await run('create', join(dir, 'eval.json'));
  expect((await run('show', 'Words in capitals')).err).toContain(
    '2 evals match Words in capitals; use an id',
  );
});
