// graft import-openai: imports of OpenAI exports into a real API.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobObject } from '@graft/contracts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, type TestApi } from '../../apps/api/test/fixture.js';
import { makeProject, type TestProject } from '../../apps/api/test/projects.js';
import { graft, type Done } from './graft.js';
import {
  CHECKPOINTS,
  CONTENTS,
  EVALS,
  FILES,
  JOBS,
  OUTPUT_ITEMS,
  RUNS,
  TUNED,
  WORDS,
} from './openai-export.js';

interface Outcome {
  readonly kind: string;
  readonly name: string;
  readonly state: string;
  readonly id: string | null;
  readonly notes: readonly string[];
}

let api: TestApi;
let dir: string;
let project: TestProject;
let projects = 0;

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
});
afterAll(() => api?.close());

// Each test has its own project, so that it does not find imports of other tests.
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'graft-import-'));
  project = await makeProject(api, `import-${++projects}`);
  return () => rmSync(dir, { recursive: true, force: true });
});

const run = (...args: string[]): Promise<Done> =>
  graft(api.home, args, '', { GRAFT_URL: api.url, GRAFT_API_KEY: project.member.key });

async function outcomes(...args: string[]): Promise<Outcome[]> {
  const done = await run('--json', 'import-openai', ...args, '--drafts', join(dir, 'drafts'));
  if (done.out === '') throw new Error(done.err);
  return JSON.parse(done.out) as Outcome[];
}
const states = (all: readonly Outcome[], kind: string): Record<string, string> =>
  Object.fromEntries(
    all.filter((one) => one.kind === kind).map(({ name, state }) => [name, state]),
  );
const one = (all: readonly Outcome[], name: string): Outcome => {
  const found = all.find((each) => each.name.startsWith(name));
  if (!found) throw new Error(`${name} is not in ${JSON.stringify(all)}`);
  return found;
};

async function list<T>(path: string): Promise<T[]> {
  const answer = await fetch(`${api.url}/v1${path}`, {
    headers: { authorization: `Bearer ${project.member.key}` },
  });
  return ((await answer.json()) as { data: T[] }).data;
}
const all = async (): Promise<unknown[]> => [
  await list('/files'),
  await list('/evals'),
  await list('/fine_tuning/jobs'),
];

/** Writes an export: lists of the API's JSON, and data files with their own names. */
function writeExport(): string {
  const folder = join(dir, 'export');
  mkdirSync(join(folder, 'data'), { recursive: true });
  for (const [name, , content] of Object.values(CONTENTS))
    writeFileSync(join(folder, 'data', name), content);
  const put = (name: string, value: unknown): void =>
    writeFileSync(join(folder, name), JSON.stringify(value));
  put('files.json', { object: 'list', data: FILES, has_more: false });
  put('jobs.json', { object: 'list', data: JOBS, has_more: false });
  put('checkpoints.json', { object: 'list', data: CHECKPOINTS });
  put('evals.json', EVALS);
  // A duplicate of one eval in its own file.
  put('words.json', EVALS[0]);
  put('runs.json', { object: 'list', data: RUNS });
  put('items.json', { object: 'list', data: OUTPUT_ITEMS });
  return folder;
}

describe('an OpenAI export', () => {
  it('shows a plan with --dry-run without changing anything', async () => {
    const folder = writeExport();
    const before = await all();
    const shown = await run('import-openai', folder, '--dry-run', '--drafts', join(dir, 'drafts'));
    expect(shown.code).toBe(0);
    expect(shown.out).toMatch(/file +\S+spam\.jsonl +to create/);
    expect(shown.out).toMatch(/eval +eval_Words1 "Words in capitals" +to create/);
    expect(shown.out).toMatch(/job +ftjob-Spam1 "spam" +to draft/);
    expect(shown.err).toMatch(/\d+ to create, \d+ to draft, \d+ not supported/);
    expect(await all()).toEqual(before);
    expect(readdirSync(dir)).toEqual(['export']);
  });

  it('is imported once, and reports what is not supported', async () => {
    const folder = writeExport();
    const first = await outcomes(folder);
    expect(states(first, 'file')).toEqual({
      [join(folder, 'data/spam.jsonl')]: 'made',
      [join(folder, 'data/spam-valid.jsonl')]: 'made',
      [join(folder, 'data/prefs.jsonl')]: 'made',
      [join(folder, 'data/seen.jsonl')]: 'no counterpart',
      [join(folder, 'data/items.jsonl')]: 'made',
    });
    expect(one(first, join(folder, 'data/seen.jsonl')).notes[0]).toBe(
      '1 of 12 lines have images or audio (line 12), which import-openai does not support',
    );
    expect(await list('/evals')).toHaveLength(1);
    expect(states(first, 'eval')).toEqual({
      'eval_Words1 "Words in capitals"': 'made',
      'eval_Logs1 "From logs"': 'no counterpart',
    });
    expect(one(first, 'eval_Words1').notes.join('\n')).toMatch(
      /near: skipped: .*cosine is not supported[^]*judge: skipped: gpt-4o-2024-08-06 is a hosted model; .*--map gpt-4o=MODEL/,
    );
    const [made] = await list<{ id: string; metadata: object; testing_criteria: object[] }>(
      '/evals',
    );
    expect(made).toMatchObject({
      name: 'Words in capitals',
      metadata: { team: 'mail', imported_from: 'eval_Words1' },
      data_source_config: { schema: { properties: { item: { required: ['word', 'answer'] } } } },
      testing_criteria: [{ name: 'same', type: 'string_check' }],
    });
    expect(states(first, 'run')).toEqual({
      'evalrun_First1 "run evalrun_First1", recorded answers': 'made',
      'evalrun_First1 "run evalrun_First1"': 'draft',
      'evalrun_Tuned1 "run evalrun_Tuned1"': 'draft',
      'evalrun_Stored1 "run evalrun_Stored1"': 'no counterpart',
    });
    expect(one(first, 'evalrun_First1 "run evalrun_First1"')).toBeDefined();
    // The recorded answers are graded without a worker.
    await until(async () => {
      const [graded] = await list<{ status: string }>(`/evals/${made!.id}/runs`);
      return graded?.status === 'completed';
    });
    expect(await list(`/evals/${made!.id}/runs`)).toMatchObject([
      { result_counts: { total: WORDS.length, passed: 2, failed: 1, errored: 0 } },
    ]);
    expect(states(first, 'job')).toEqual({
      'ftjob-Spam1 "spam"': 'draft',
      'ftjob-Prefs1': 'draft',
      'ftjob-Rft1': 'no counterpart',
      'ftjob-Failed1': 'draft',
    });
    const files = await list<{ id: string; filename: string }>('/files?purpose=fine-tune');
    const idOf = (name: string) => files.find(({ filename }) => filename === name)?.id;
    expect(JSON.parse(readFileSync(join(dir, 'drafts/ftjob-Spam1.json'), 'utf8'))).toEqual({
      method: {
        type: 'supervised',
        supervised: {
          hyperparameters: { n_epochs: 3, batch_size: 1, learning_rate_multiplier: 1.8 },
        },
      },
      suffix: 'spam',
      seed: 683058546,
      training_file: idOf('spam.jsonl'),
      validation_file: idOf('spam-valid.jsonl'),
      metadata: { team: 'mail', imported_from: 'ftjob-Spam1' },
    });

    const before = await all();
    const again = await outcomes(folder);
    expect(again.filter(({ state }) => state === 'made' || state === 'draft')).toEqual([]);
    expect(await all()).toEqual(before);
    expect(await list(`/evals/${made!.id}/runs`)).toHaveLength(1);
  });

  it('writes drafts that submit accepts with --model', async () => {
    await outcomes(writeExport());
    const draft = join(dir, 'drafts/ftjob-Prefs1.json');
    const done = await run('--json', 'submit', draft, '--model', 'tiny');
    expect(done).toMatchObject({ code: 0 });
    expect(JSON.parse(done.out)).toMatchObject({
      model: 'tiny',
      method: { type: 'dpo', dpo: { hyperparameters: { beta: 0.2, n_epochs: 2, batch_size: 2 } } },
      metadata: { imported_from: 'ftjob-Prefs1' },
    });
  });

  it('creates jobs with --train, replaces models with --map, and runs evals again with --run', async () => {
    const folder = writeExport();
    const args = [
      folder,
      '--model',
      'tiny',
      '--map',
      'gpt-4o=tiny',
      '--map',
      'gpt-4o-mini=tiny',
      '--train',
      '--run',
    ];
    const first = await outcomes(...args, '--skip-media');
    expect(states(first, 'job')).toEqual({
      'ftjob-Spam1 "spam"': 'made',
      'ftjob-Prefs1': 'made',
      'ftjob-Rft1': 'no counterpart',
      'ftjob-Failed1': 'draft',
    });
    const jobs = await list<JobObject>('/fine_tuning/jobs');
    expect(jobs.map(({ metadata }) => metadata?.['imported_from']).sort()).toEqual([
      'ftjob-Prefs1',
      'ftjob-Spam1',
    ]);
    expect(jobs.find((job) => job.user_provided_suffix === 'spam')).toMatchObject({
      model: 'tiny',
      seed: 683058546,
      hyperparameters: { n_epochs: 3, batch_size: 1, learning_rate_multiplier: 1.8 },
    });
    expect(one(first, join(folder, 'data/seen.jsonl'))).toMatchObject({
      state: 'made',
      notes: ['1 of 12 lines have images or audio and are skipped'],
    });
    const [made] = await list<{ id: string; testing_criteria: object[] }>('/evals');
    expect(made!.testing_criteria).toMatchObject([
      { name: 'same' },
      { name: 'judge', model: 'tiny' },
    ]);
    const runs = await list<{ name: string; data_source: object }>(`/evals/${made!.id}/runs`);
    expect(runs.find(({ name }) => name === 'run evalrun_First1')?.data_source).toMatchObject({
      type: 'completions',
      model: 'tiny',
      input_messages: {
        template: [
          { role: 'developer', content: 'In capitals.' },
          { role: 'user', content: '{{item.word}}' },
        ],
      },
      sampling_params: { max_completion_tokens: 5, temperature: 0, seed: 7, top_p: 1 },
    });
    expect(one(first, 'evalrun_First1 "run evalrun_First1"').kind).toBe('run');
    // OpenAI's fine-tuned model maps to the result of its imported job, which has not finished.
    const tuned = one(first, 'evalrun_Tuned1');
    expect(tuned).toMatchObject({ state: 'draft' });
    expect(tuned.notes.join()).toContain(TUNED);
    const again = await outcomes(...args, '--skip-media');
    expect(again.filter(({ state }) => state === 'made' || state === 'draft')).toEqual([]);
  });

  it('continues after a failed item, reports it, and exits with 1', async () => {
    const folder = join(dir, 'broken');
    mkdirSync(folder);
    writeFileSync(join(folder, 'a.jsonl'), '{"messages":[]}\n');
    writeFileSync(join(folder, 'b.jsonl'), CONTENTS['file-Train1']![2]);
    writeFileSync(join(folder, 'c.json'), '{"broken": ');
    writeFileSync(
      join(folder, 'batch.jsonl'),
      '{"custom_id":"1","method":"POST","url":"/v1/chat/completions"}\n',
    );
    const done = await run('--json', 'import-openai', folder);
    expect(done.code).toBe(1);
    const results = JSON.parse(done.out) as Outcome[];
    expect(results.map(({ state }) => state)).toEqual([
      'failed',
      'made',
      'no counterpart',
      'no counterpart',
    ]);
    expect(done.err).toContain('1 of 4 items could not be imported');
    // The rejected file was deleted.
    expect(await list('/files')).toHaveLength(1);
    for (const [args, code, message] of [
      [['no-such-folder'], 2, 'no such file or folder'],
      [[folder, '--model', 'unknown'], 2, 'no model named unknown'],
      [[folder, '--train'], 2, '--train requires --model'],
      [[], 2, 'specify the files'],
    ] as const) {
      const refused = await run('import-openai', ...args);
      expect(refused).toMatchObject({ code });
      expect(refused.err).toContain(message);
    }
  });
});

const PROMPTFOO = `
description: Capitals
prompts:
  - 'In capitals: {{word}}'
  - id: file://chat.json
    label: as a chat
providers:
  - id: openai:gpt-4o-mini
    config: { temperature: 0, max_tokens: 4 }
defaultTest:
  assert:
    - { type: llm-rubric, value: 'is in capitals, as {{word}} would be' }
tests:
  - vars: { word: abc }
    assert: [{ type: equals, value: ABC }]
  - vars: { word: [bcd, cde] }
    assert: [{ type: equals, value: BCD }]
  - vars: { word: x }
    assert: [{ type: icontains, value: x }, { type: javascript, value: 'output.length < 3' }]
`;

describe('a Promptfoo configuration', () => {
  it('becomes one eval per set of assertions, and one run per prompt', async () => {
    writeFileSync(join(dir, 'promptfooconfig.yaml'), PROMPTFOO);
    writeFileSync(
      join(dir, 'chat.json'),
      JSON.stringify([
        { role: 'system', content: 'Capitals' },
        { role: 'user', content: '{{ word }}' },
      ]),
    );
    const config = join(dir, 'promptfooconfig.yaml');
    const bare = await outcomes(config, '--dry-run');
    expect(one(bare, 'Capitals (1 of 2)').notes.join()).toMatch(
      /llm-rubric is a hosted model.*--map llm-rubric=MODEL/,
    );
    const args = [config, '--map', 'llm-rubric=tiny', '--map', 'gpt-4o-mini=tiny', '--run'];
    const first = await outcomes(...args);
    expect(first.map(({ kind, name, state }) => [kind, name, state])).toEqual([
      ['eval', 'Capitals (1 of 2)', 'made'],
      ['run', 'Capitals (1 of 2): prompt 1, gpt-4o-mini', 'made'],
      ['run', 'Capitals (1 of 2): as a chat, gpt-4o-mini', 'made'],
      ['eval', 'Capitals (2 of 2)', 'made'],
      ['run', 'Capitals (2 of 2): prompt 1, gpt-4o-mini', 'made'],
      ['run', 'Capitals (2 of 2): as a chat, gpt-4o-mini', 'made'],
    ]);
    expect(one(first, 'Capitals (2 of 2)').notes.join()).toContain(
      'javascript have no counterpart',
    );
    const evals = await list<{ id: string; name: string; testing_criteria: object[] }>('/evals');
    const whole = evals.find(({ name }) => name === 'Capitals (1 of 2)')!;
    expect(whole.testing_criteria).toMatchObject([
      { type: 'score_model', name: 'llm-rubric', model: 'tiny', pass_threshold: 0.5 },
      { type: 'string_check', operation: 'eq', reference: '{{item.expected_2}}' },
    ]);
    const runs = await list<{
      data_source: { source: { id: string }; input_messages: object; sampling_params: object };
    }>(`/evals/${whole.id}/runs?order=asc`);
    expect(runs[0]!.data_source).toMatchObject({
      model: 'tiny',
      input_messages: { template: [{ role: 'user', content: 'In capitals: {{item.word}}' }] },
      sampling_params: { temperature: 0, max_completion_tokens: 4 },
    });
    const content = await fetch(`${api.url}/v1/files/${runs[0]!.data_source.source.id}/content`, {
      headers: { authorization: `Bearer ${project.member.key}` },
    });
    const items = (await content.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown);
    expect(items).toEqual(
      [
        ['abc', 'ABC'],
        ['bcd', 'BCD'],
        ['cde', 'BCD'],
      ].map(([word, answer]) => ({
        item: { word, expected_1: `is in capitals, as ${word} would be`, expected_2: answer },
      })),
    );
    expect((await outcomes(...args)).map(({ state }) => state)).toEqual(Array(6).fill('there'));
  });
});
