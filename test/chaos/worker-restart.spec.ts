// Kill −9 a worker when its run is done and nobody was told yet, and the API with it: what the worker had spooled is
// the end of the job, and nothing trains a second time.
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Installation, until } from '../e2e/installation.js';
import { POSTGRES, uniqueName } from '../servers.js';

const name = uniqueName('restart');

const reachable = await new pg.Client({ connectionString: `${POSTGRES}/postgres` })
  .connect()
  .then(() => true)
  .catch(() => false);

async function admin(sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: `${POSTGRES}/postgres` });
  await client.connect();
  await client.query(sql).finally(() => client.end());
}

let graft: Installation;
beforeAll(async () => {
  if (!reachable) return;
  await admin(`CREATE DATABASE ${name}`);
  graft = await Installation.start({
    databaseUrl: `${POSTGRES}/${name}`,
    queuePrefix: name,
    // A slow machine must not look like a worker that was lost.
    leaseMs: 60_000,
  });
  await graft.importTinyBase();
});
afterAll(async () => {
  await graft?.stop();
  if (reachable) await admin(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
});

it.skipIf(!reachable)(
  'a worker killed before its last fact was taken trains nothing again',
  async () => {
    const { id } = await graft.createJob({
      model: 'tiny',
      training_file: await graft.uploadChats(12),
      hyperparameters: { n_epochs: 8, batch_size: 1 },
    });
    const worker = graft.startWorker('one');
    const client = new pg.Client({ connectionString: `${POSTGRES}/${name}` });
    await client.connect();
    try {
      await until('it to train', async () => (await graft.job(id)).status === 'running', 60_000);
      // No fact is taken while this row is locked.
      await client.query('BEGIN');
      await client.query('SELECT 1 FROM job WHERE id = $1 FOR UPDATE', [id]);
      await until(
        'the end in the spool',
        () => worker.tail().includes('"event":"finished"'),
        60_000,
      );
      worker.child.kill('SIGKILL');
      await worker.exited;
      await graft.crashApi(0);
    } finally {
      await client.end();
    }
    graft.startWorker('one');
    const job = await graft.succeeded(id);
    expect(job.graft?.attempts).toMatchObject([{ number: 1, outcome: 'done' }]);
  },
  300_000,
);
