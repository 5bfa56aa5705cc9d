import { randomBytes } from 'node:crypto';
import { mkdtempSync, chmodSync, rmSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import type { DataSource } from 'typeorm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dataSource } from './data-source.js';
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded-postgres.js';

describe('the embedded server and the schema on it', () => {
  const home = mkdtempSync(join(tmpdir(), `graft-embedded-${randomBytes(3).toString('hex')}-`));
  chmodSync(home, 0o755);
  let server: EmbeddedPostgres;
  beforeAll(async () => {
    server = await startEmbeddedPostgres(home);
  });
  afterAll(async () => {
    await server?.stop();
    rmSync(home, { recursive: true, force: true });
  });

  const ask = async (sql: string): Promise<unknown[]> => {
    const client = new Client({ connectionString: server.url });
    await client.connect();
    return (await client.query(sql).finally(() => client.end())).rows;
  };
  /** Takes back the newest migrations, down to this one. */
  const undo = async (source: DataSource, name: string): Promise<void> => {
    while (source.migrations.some((one) => one.name === name)) {
      const [last] = await source.query<{ name: string }[]>(
        'SELECT name FROM migration ORDER BY id DESC LIMIT 1',
      );
      await source.undoLastMigration();
      if (last?.name === name) return;
    }
  };
  const pid = (): number =>
    Number(readFileSync(join(home, 'postgres', 'data', 'postmaster.pid'), 'utf8').split('\n')[0]);

  it('has migrations that agree with the entities, down and up again', async () => {
    const source = await dataSource(server.url).initialize();
    await source.runMigrations();
    const drift = async (): Promise<string[]> =>
      (await source.driver.createSchemaBuilder().log()).upQueries.map(({ query }) => query);
    expect(await drift()).toEqual([]);
    for (const _ of source.migrations) await source.undoLastMigration();
    expect((await drift()).length).toBeGreaterThan(10);
    await source.runMigrations();
    expect(await drift()).toEqual([]);
    await source.destroy();
  });

  it('keeps the numbers of steps and evaluations when they move into one column, and back', async () => {
    const source = await dataSource(server.url).initialize();
    await undo(source, 'MetricValues1764600000000');
    const rows = (): Promise<unknown[]> =>
      Promise.all(
        ['metric', 'evaluation', 'event', 'checkpoint'].map((table) =>
          ask(`SELECT to_jsonb(one) AS row FROM ${table} one ORDER BY 1`),
        ),
      );
    await ask(`INSERT INTO metric (job_id, attempt, step, loss, learning_rate, grad_norm, accuracy, seconds, tokens,
        supervised_tokens, rss_bytes) VALUES ('j', 1, 1, 0.1, 1e-4, 2, 0.5, 0.25, 100, 40, 1000),
        ('j', 1, 2, 'NaN', 1e-4, 'Infinity', 0.5, 0.5, 100, 40, 1000)`);
    await ask(`INSERT INTO evaluation (job_id, attempt, step, loss, accuracy, tokens, "full")
        VALUES ('j', 1, 2, 2.5, 0.25, 9, true)`);
    const point = { step: 1, loss: 0.1, accuracy: 0.5, learning_rate: 1e-4, grad_norm: 2 };
    const curve = { ...point, supervised_tokens: 40, tokens_per_second: 400 };
    await ask(`INSERT INTO event (job_id, number, level, type, message, data) VALUES
        ('j', 1, 'info', 'message', 'Fine-tuning job started', NULL),
        ('j', 2, 'info', 'metrics', 'Step 1', '${JSON.stringify({ step: 1, train_loss: 0.1, curve })}'),
        ('j', 3, 'info', 'metrics', 'Step 2', '{"step": 2, "valid_loss": 2.5}'),
        ('j', 4, 'info', 'message', 'Checkpoint created at step 2', '{"step": 2}'),
        ('j', 5, 'info', 'message', 'Files validated', NULL)`);
    const before = await rows();
    await source.runMigrations();
    expect(await ask('SELECT values FROM metric ORDER BY step')).toEqual([
      {
        values: {
          loss: 0.1,
          accuracy: 0.5,
          supervised_tokens: 40,
          learning_rate: 1e-4,
          grad_norm: 2,
        },
      },
      { values: expect.objectContaining({ loss: 'NaN', grad_norm: 'Infinity' }) },
    ]);
    expect(await ask('SELECT values, "full" FROM evaluation')).toEqual([
      { values: { loss: 2.5, accuracy: 0.25, supervised_tokens: 9 }, full: true },
    ]);
    expect(await ask('SELECT number, kind, data FROM event ORDER BY number')).toEqual([
      { number: 1, kind: 'attempt', data: null },
      { number: 2, kind: 'step', data: { step: 1, train_loss: 0.1 } },
      { number: 3, kind: 'evaluation', data: { step: 2, valid_loss: 2.5 } },
      { number: 4, kind: 'checkpoint', data: { step: 2 } },
      { number: 5, kind: null, data: null },
    ]);
    await undo(source, 'MetricValues1764600000000');
    expect(await rows()).toEqual(before);
    for (const table of ['metric', 'evaluation', 'event']) await ask(`DELETE FROM ${table}`);
    await source.runMigrations();
    await source.destroy();
  });

  it('takes no sweep for over whose models are still asked for their scores', async () => {
    const source = await dataSource(server.url).initialize();
    await undo(source, 'SweepEnded1764958200000');
    for (const [id, state, metric, scoring] of [
      ['over', 'succeeded', 'eval_score', 'completed'],
      ['open', 'running', 'valid_loss', 'completed'],
      ['asked', 'succeeded', 'eval_score', 'in_progress'],
      ['by_loss', 'succeeded', 'valid_loss', 'in_progress'],
    ]) {
      await ask(`INSERT INTO sweep (id, project_id, request, search, model, training_file)
        VALUES ('${id}', 'p', '{}', '{"metric": "${metric}"}', 'm', 'f')`);
      await ask(`INSERT INTO job (id, project_id, state, base_id, model, request, spec, pool, priority, phase_code,
          phase_message, step, sweep_id, trial)
        VALUES ('${id}', 'p', '${state}', 'm', 'm', '{}', '{}', 'q', 1, '', '', 9, '${id}', 1)`);
      await ask(`INSERT INTO eval_run (id, eval_id, project_id, key_id, name, model, data_source, status, job_id, step)
        VALUES ('${id}', 'e', 'p', 'k', '', '', '{}', '${scoring}', '${id}', 9)`);
    }
    await source.runMigrations();
    expect(await ask('SELECT id FROM sweep WHERE ended_at IS NULL ORDER BY id')).toEqual([
      { id: 'asked' },
      { id: 'open' },
    ]);
    for (const table of ['eval_run', 'job', 'sweep']) await ask(`DELETE FROM ${table}`);
    await source.destroy();
  });

  it('listens on this host only, and wants its password', async () => {
    expect(await ask('SHOW listen_addresses')).toEqual([{ listen_addresses: '127.0.0.1' }]);
    const intruder = new Client({
      connectionString: server.url.replace(/:[0-9a-f]{48}@/, ':wrong@'),
    });
    await expect(intruder.connect()).rejects.toThrow(/password/);
  });

  it('is joined, not started twice, when its API was killed and it went on', async () => {
    const before = pid();
    const { url } = server;
    await server.leave();
    server = await startEmbeddedPostgres(home);
    expect(pid()).toBe(before);
    expect(server.url).toBe(url);
  });

  it('comes back with all data after kill -9 and the stale pid file that leaves', async () => {
    await ask(`INSERT INTO project (id, name) VALUES ('kept', 'kept')`);
    const killed = pid();
    await server.leave();
    process.kill(killed, 'SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, 500));
    server = await startEmbeddedPostgres(home);
    expect(pid()).not.toBe(killed);
    expect(await ask(`SELECT name FROM project WHERE id = 'kept'`)).toEqual([{ name: 'kept' }]);
  });

  it('stops when told to, and keeps its data', async () => {
    await server.stop();
    await expect(ask('SELECT 1')).rejects.toThrow();
    server = await startEmbeddedPostgres(home);
    expect(await ask(`SELECT name FROM project WHERE id = 'kept'`)).toEqual([{ name: 'kept' }]);
  });
});
