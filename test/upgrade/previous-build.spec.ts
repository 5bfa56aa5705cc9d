// A rolling upgrade: the new build has migrated the database while API processes of the previous build still serve.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MigrationInterface, QueryRunner } from 'typeorm';
import { MIGRATIONS } from '../../apps/api/src/database/data-source.js';
import { migrate } from '../../apps/api/src/database/migrate.js';
import {
  importBase,
  startTestApi,
  until,
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
import { startApiProcess, type ApiProcess } from './api-process.js';
import { buildPrevious, previousCommit } from './previous-build.js';

/**
 * Migration that a next release may add. The old build must tolerate it, even while no release has a second migration.
 */
class Next1999000000000 implements MigrationInterface {
  readonly name = 'Next1999000000000';

  async up(runner: QueryRunner): Promise<void> {
    for (const table of ['job', 'worker', 'event', 'metric', 'file', 'eval_run', 'gateway'])
      await runner.query(`ALTER TABLE "${table}" ADD "next" text NOT NULL DEFAULT ''`);
    await runner.query(
      `CREATE TABLE "next" ("id" text NOT NULL, CONSTRAINT "next_pk" PRIMARY KEY ("id"))`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE "next"');
  }
}

const commit = previousCommit();
if (commit === null)
  console.warn('skipped: there is no git history to build the previous API from');

describe.skipIf(commit === null)('the previous build', { timeout: 300_000 }, () => {
  let api: TestApi;
  let previous: ApiProcess;
  /** The old process, for helpers that expect the new one. */
  let old: TestApi;
  const workers: ScriptedWorker[] = [];

  beforeAll(async () => {
    const folder = buildPrevious(commit ?? '');
    api = await startTestApi();
    await migrate(api.databaseUrl, undefined, [...MIGRATIONS, Next1999000000000]);
    previous = await startApiProcess(folder, api);
    old = previous.api as TestApi;
  }, 300_000);
  afterAll(async () => {
    for (const worker of workers) worker.vanish();
    await previous?.stop();
    await api?.close();
  });

  /** Creates a job through one API and trains it through another, with the usual reports. */
  async function trained(by: TestApi, on: TestApi, training_file: string): Promise<string> {
    const pool = `pool-${workers.length}`;
    const body = { model: 'tiny', training_file, graft: { pool } };
    const { id } = await by.post<{ id: string }>('/fine_tuning/jobs', body);
    const worker = await new ScriptedWorker(on, { pool }).connect();
    workers.push(worker);
    const lease = await worker.nextAssignment();
    worker.keep(lease);
    await worker.report(lease, started(0, 4), step(1), step(2), evaluated(2, 1.5));
    const state = await worker.put(lease, 'state', `${id} at 2`);
    await worker.report(lease, saved(2, [state]), step(3), step(4));
    await worker.finish(lease, 4);
    await until(async () => {
      const { status } = await by.get<{ status: string }>(`/fine_tuning/jobs/${id}`);
      return status === 'succeeded';
    });
    return id;
  }

  it('imports, uploads, trains and deletes on the new schema, alone and next to the new build', async () => {
    await importBase(old);
    const file = await uploadChats(old);
    const jobs = [
      await trained(old, old, file),
      await trained(old, api, file),
      await trained(api, old, file),
    ];
    for (const id of jobs)
      for (const path of ['', '/events', '/checkpoints', '/metrics'])
        await old.get(`/fine_tuning/jobs/${id}${path}`);
    const again = await uploadChats(old, 13);
    await old.client.files.delete(again);
    const { id } = await old.post<{ id: string }>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: file,
      graft: { pool: 'nobody' },
    });
    await old.post(`/fine_tuning/jobs/${id}/pause`);
    await old.post(`/fine_tuning/jobs/${id}/resume`);
    await old.post(`/fine_tuning/jobs/${id}/cancel`);
    expect(previous.errors()).toEqual([]);
  });

  it('grades the answers of an eval on the new schema', async () => {
    const made = await old.client.evals.create({
      name: 'same',
      data_source_config: { type: 'custom', item_schema: {}, include_sample_schema: true },
      testing_criteria: [
        {
          type: 'string_check',
          name: 'same',
          operation: 'eq',
          input: '{{sample.output_text}}',
          reference: '{{item.answer}}',
        },
      ],
    });
    const content = ['a', 'b'].map((answer) => ({
      item: { answer },
      sample: { output_text: 'a' },
    }));
    const run = await old.client.evals.runs.create(made.id, {
      name: 'run',
      data_source: { type: 'jsonl', source: { type: 'file_content', content } },
    });
    const found = () => old.client.evals.runs.retrieve(run.id, { eval_id: made.id });
    await until(async () => (await found()).status === 'completed', 60_000);
    expect((await found()).result_counts).toMatchObject({ passed: 1, failed: 1 });
    expect(previous.errors()).toEqual([]);
  });

  it('serves every list', async () => {
    const answer = await fetch(`${old.url}/docs-json`);
    const { paths } = (await answer.json()) as { paths: Record<string, { get?: unknown }> };
    const lists = Object.entries(paths)
      .filter(([path, { get }]) => get && path.startsWith('/v1/') && !/[{]|stream/.test(path))
      .map(([path]) => path.slice('/v1'.length));
    expect(lists.length).toBeGreaterThan(10);
    for (const path of lists)
      await old.get(path.startsWith('/organization/usage/') ? `${path}?start_time=1` : path);
    expect(previous.errors()).toEqual([]);
  });
});
