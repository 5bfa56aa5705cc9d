// OpenAI's Python graders, with an interpreter of this machine that runs as user `nobody`; skipped if it
// cannot be confined.
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { caught, startTestApi, until, type TestApi } from './fixture.js';

const PYTHON = '/usr/bin/python3';
const can = (): boolean => {
  try {
    execFileSync('unshare', ['--net', '--pid', '--fork', 'setpriv', '--no-new-privs', 'true']);
    return process.getuid?.() === 0 && existsSync(PYTHON);
  } catch {
    return false;
  }
};

let api: TestApi;
/** Blobs of all projects, in a folder that every user of the machine can read. */
let blobs = '';
const grader = (source: string): never => ({ type: 'python', name: 'own', source }) as never;
const run = (source: string, sample: string, item: object = {}) =>
  api.client.fineTuning.alpha.graders.run({
    grader: grader(source),
    model_sample: sample,
    item,
  });
const validate = (one: object) =>
  api.client.fineTuning.alpha.graders.validate({ grader: one as never });

const LENGTH = `
def grade(sample, item):
    return len(sample["output_text"]) / item["longest"]
`;

describe.skipIf(!can())('a python grader', () => {
  beforeAll(async () => {
    blobs = mkdtempSync('/var/graft-blobs-');
    chmodSync(blobs, 0o755);
    api = await startTestApi({ python: PYTHON, pythonUser: 'nobody', blobs });
  });
  afterAll(async () => {
    await api?.close();
    rmSync(blobs, { recursive: true });
  });

  it('cannot see the folder of the blobs', async () => {
    expect(readdirSync(blobs)).not.toEqual([]);
    const look = 'import os\ndef grade(sample, item): return len(os.listdir(item["blobs"]))';
    expect(await run(look, '', { blobs })).toMatchObject({
      reward: 0,
      metadata: { errors: { python_grader_runtime_error: false } },
    });
  });

  it('returns the result of grade(sample, item), whatever it prints', async () => {
    const found = await run(`print("words")\n${LENGTH}`, 'abc', { longest: 4 });
    expect(found).toMatchObject({
      reward: 0.75,
      metadata: { type: 'python', errors: { python_grader_runtime_error: false } },
    });
    const json = 'def grade(sample, item): return sample["output_json"]["a"] == item["a"]';
    expect((await run(json, '{"a": 3}', { a: 3 })).reward).toBe(1);
    expect((await run(json, '{"a": 3}', { a: 4 })).reward).toBe(0);
  });

  it.each([
    ['def grade(sample, item):\n    return item["missing"]', "line 2: KeyError: 'missing'"],
    ['grade = 3', 'source does not define a function grade(sample, item)'],
    ['def grade(sample, item): return float("nan")', 'not a finite number'],
    ['def grade(sample, item): return "well"', 'could not convert string to float'],
    ['import os\ndef grade(sample, item): os._exit(3)', 'it ended with 3'],
    ['def grade(sample, item): return [0] * 10 ** 10', 'MemoryError'],
  ])('reports the error of %j', async (source, details) => {
    const { reward, metadata } = await run(source, 'abc');
    expect(reward).toBe(0);
    expect(metadata.errors.python_grader_runtime_error).toBe(true);
    expect(metadata.errors.python_grader_runtime_error_details).toContain(details);
  });

  it('is validated before it runs: syntax errors and unsupported fields are rejected', async () => {
    expect(await validate(grader(LENGTH))).toMatchObject({ grader: { type: 'python' } });
    const broken = await caught(validate(grader('def grade(sample, item):\n  return (')));
    expect([broken.status, broken.param]).toEqual([400, 'grader.source']);
    expect(broken.message).toMatch(/no Python: line 2: /);
    const tagged = (image_tag: string) => ({ ...(grader(LENGTH) as object), image_tag });
    expect(await validate(tagged('2025-05-08'))).toMatchObject({ grader: tagged('2025-05-08') });
    const other = await caught(validate(tagged('2031-01-01')));
    expect([other.code, other.param]).toEqual(['unsupported', 'grader.image_tag']);
  });

  it.each([
    ['x = 1', false],
    ['def score(sample, item): return grade(sample)', false],
    ['class A:\n  def grade(sample, item): return 1', false],
    ['import math\nif math.pi > 3:\n  def grade(sample, item): return 1', true],
    ['grade = lambda sample, item: 1', true],
    ['from os.path import exists as grade', true],
    ['from os.path import *', true],
  ])('without a function grade() is rejected by validate: %j', async (source, isTaken) => {
    if (isTaken) return void (await validate(grader(source)));
    const refused = await caught(validate(grader(source)));
    expect([refused.status, refused.code, refused.param]).toEqual([
      400,
      'invalid_value',
      'grader.source',
    ]);
    expect(refused.message).toContain('does not define a function grade(sample, item)');
  });

  it('can be part of a multi grader, and an eval criterion with a pass threshold', async () => {
    const multi = {
      type: 'multi',
      name: 'both',
      graders: {
        own: grader(LENGTH),
        same: {
          type: 'string_check',
          name: 's',
          operation: 'eq',
          input: '{{sample.output_text}}',
          reference: 'abcd',
        },
      },
      calculate_output: '(own + same) / 2',
    };
    const both = await api.client.fineTuning.alpha.graders.run({
      grader: multi as never,
      model_sample: 'abcd',
      item: { longest: 8 },
    });
    expect(both.reward).toBe(0.75);
    const { evals } = api.client;
    const { id } = await evals.create({
      data_source_config: { type: 'custom', item_schema: {}, include_sample_schema: true },
      testing_criteria: [{ type: 'python', name: 'own', source: LENGTH, pass_threshold: 0.5 }],
    });
    const content = [
      { item: { longest: 4 }, sample: { output_text: 'abc' } },
      { item: { longest: 9 }, sample: { output_text: 'abc' } },
      { item: {}, sample: { output_text: 'abc' } },
    ];
    const made = await evals.runs.create(id, {
      data_source: { type: 'jsonl', source: { type: 'file_content', content } },
    });
    await until(
      async () => (await evals.runs.retrieve(made.id, { eval_id: id })).status === 'completed',
      30_000,
    );
    const done = await evals.runs.retrieve(made.id, { eval_id: id });
    expect(done.result_counts).toEqual({ total: 3, passed: 1, failed: 1, errored: 1 });
    const { data } = await evals.runs.outputItems.list(made.id, { eval_id: id });
    expect(data[2]!.results[0]).toMatchObject({
      error: { message: "line 3: KeyError: 'longest'" },
    });
  });
});

describe.skipIf(!can())('a Python interpreter that does not start', () => {
  let dir = '';
  let broken = '';
  let beside: TestApi;
  beforeAll(async () => {
    dir = mkdtempSync('/var/graft-python-');
    broken = join(dir, 'broken');
    chmodSync(dir, 0o755);
    const python = join(dir, 'python');
    writeFileSync(
      python,
      `#!/bin/sh\n[ -e ${broken} ] && { echo "python: cannot allocate memory" >&2; exit 1; }\nexec ${PYTHON} "$@"\n`,
    );
    chmodSync(python, 0o755);
    beside = await startTestApi({ python, pythonUser: 'nobody' });
  });
  afterAll(async () => {
    await beside?.close();
    if (dir) rmSync(dir, { recursive: true });
  });

  it('does not count as a wrong answer: the call is rejected, and an eval run waits', async () => {
    const { evals, fineTuning } = beside.client;
    const { id } = await evals.create({
      data_source_config: { type: 'custom', item_schema: {}, include_sample_schema: true },
      testing_criteria: [{ type: 'python', name: 'own', source: LENGTH, pass_threshold: 0.5 }],
    });
    writeFileSync(broken, '');
    const refused = await caught(
      fineTuning.alpha.graders.run({ grader: grader(LENGTH), model_sample: 'a', item: {} }),
    );
    expect([refused.status, refused.code]).toEqual([503, 'unavailable']);
    expect(refused.message).toContain('the interpreter of Python graders could not be started');
    const content = [{ item: { longest: 4 }, sample: { output_text: 'abc' } }];
    const made = await evals.runs.create(id, {
      data_source: { type: 'jsonl', source: { type: 'file_content', content } },
    });
    const waits = async () =>
      (
        await beside.query<{ waits: boolean }>(
          'SELECT waiting_since IS NOT NULL AS waits FROM eval_run WHERE id = $1',
          [made.id],
        )
      )[0]?.waits === true;
    await until(waits, 30_000);
    rmSync(broken);
    const run = () => evals.runs.retrieve(made.id, { eval_id: id });
    await until(async () => (await run()).status === 'completed', 60_000);
    expect((await run()).result_counts).toEqual({ total: 1, passed: 1, failed: 0, errored: 0 });
  });

  it('does not count as a failure to confine graders, even after a restart of the API', async () => {
    const { evals } = beside.client;
    const { id } = await evals.create({
      data_source_config: { type: 'custom', item_schema: {}, include_sample_schema: true },
      testing_criteria: [{ type: 'python', name: 'own', source: LENGTH, pass_threshold: 0.5 }],
    });
    await beside.restart();
    writeFileSync(broken, '');
    const refused = await caught(
      beside.client.fineTuning.alpha.graders.validate({ grader: grader(LENGTH) }),
    );
    expect([refused.status, refused.code, refused.param]).toEqual([
      503,
      'unavailable',
      'grader.source',
    ]);
    const content = [{ item: { longest: 4 }, sample: { output_text: 'abc' } }];
    const made = await beside.client.evals.runs.create(id, {
      data_source: { type: 'jsonl', source: { type: 'file_content', content } },
    });
    const row = async () =>
      (
        await beside.query<{ waits: boolean; wanted_pool: string | null }>(
          'SELECT waiting_since IS NOT NULL AS waits, wanted_pool FROM eval_run WHERE id = $1',
          [made.id],
        )
      )[0];
    await until(async () => (await row())?.waits === true, 30_000);
    // More workers would not help.
    expect((await row())?.wanted_pool).toBeNull();
    rmSync(broken);
    const run = () => beside.client.evals.runs.retrieve(made.id, { eval_id: id });
    await until(async () => (await run()).status === 'completed', 60_000);
    expect((await run()).result_counts).toEqual({ total: 1, passed: 1, failed: 0, errored: 0 });
  });
});

describe('Python graders that cannot be confined', () => {
  it.each([
    [{}, 'the operator can set GRAFT_PYTHON'],
    [{ python: PYTHON }, 'GRAFT_PYTHON_USER is not set'],
    [{ python: '/no/python', pythonUser: 'nobody' }, 'the interpreter cannot be confined'],
  ] as const)('are rejected with the reason: %j', async (options, message) => {
    if ('pythonUser' in options && !can()) return;
    const other = await startTestApi(options);
    try {
      const refused = await caught(
        other.client.fineTuning.alpha.graders.validate({ grader: grader(LENGTH) }),
      );
      expect([refused.status, refused.code, refused.param]).toEqual([
        400,
        'unsupported',
        'grader.source',
      ]);
      expect(refused.message).toContain(message);
    } finally {
      await other.close();
    }
  });
});
