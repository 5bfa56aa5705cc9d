// Kills a worker with SIGKILL after its run is done but before the API has accepted the result, and then the
// API. The result in the worker's spool finishes the job, and nothing is trained a second time.
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
    // A long lease, so that a slow machine does not look like a lost worker.
    leaseMs: 60_000,
  });
  await graft.importTinyBase();
});
afterAll(async () => {
  await graft?.stop();
  if (reachable) await admin(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
});

it.skipIf(!reachable)(
  'a worker that is killed before its last fact was accepted trains nothing again',
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
      // The API accepts no facts while this row is locked.
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
