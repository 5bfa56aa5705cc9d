#!/usr/bin/env node
// The cost of notifications for commits: writers that each change a job of their own and append an event, with NOTIFY
// in the transaction, or with a separate notifier that coalesces (apps/api/src/wake), alternately.
//   node test/bench/wake-ups.mjs [--database postgres://postgres@127.0.0.1:5432] [--writers 8] [--seconds 5] [--rounds 3]
// --database: a server on which it may create and drop a database. Prints commits per second of both in each round.
import { randomUUID } from 'node:crypto';
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import pg from 'pg';

const { values: options } = parseArgs({
  options: {
    database: { type: 'string', default: 'postgres://postgres@127.0.0.1:5432' },
    writers: { type: 'string', default: '8' },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
  },
});
const [WRITERS, SECONDS, ROUNDS] = [options.writers, options.seconds, options.rounds].map(Number);
const EVERY_MS = 50;

const name = `graft_bench_${randomUUID().slice(0, 8)}`;
const connect = async (database) => {
  const client = new pg.Client({ connectionString: `${options.database}/${database}` });
  await client.connect();
  return client;
};
const admin = await connect('postgres');
await admin.query(`CREATE DATABASE ${name}`);
const open = [];

/** Commits per second of all writers together. */
async function commits(writers, notifier, inTransaction) {
  const end = performance.now() + SECONDS * 1000;
  const changed = new Set();
  let count = 0;
  const write = async (client, n) => {
    const job = `ftjob-${n}`;
    while (performance.now() < end) {
      await client.query('BEGIN');
      await client.query(
        `WITH changed AS (UPDATE job SET event_counter = event_counter + 1 WHERE id = $1 RETURNING event_counter),
           written AS (INSERT INTO event SELECT $1, event_counter, 'a step' FROM changed)
         SELECT ${inTransaction ? `pg_notify('bench', $1)` : '1'} FROM changed`,
        [job],
      );
      await client.query('COMMIT');
      changed.add(job);
      count++;
    }
  };
  const timer = inTransaction
    ? null
    : setInterval(() => {
        const topics = [...changed];
        changed.clear();
        if (topics.length > 0)
          void notifier.query(`SELECT pg_notify('bench', $1)`, [topics.join(' ')]);
      }, EVERY_MS);
  await Promise.all(writers.map(write));
  clearInterval(timer);
  return count / SECONDS;
}

try {
  for (let n = 0; n < WRITERS + 2; n++) open.push(await connect(name));
  const [listener, notifier, ...writers] = open;
  await listener.query('CREATE TABLE job (id text PRIMARY KEY, event_counter int NOT NULL)');
  await listener.query(
    'CREATE TABLE event (job_id text, number int, message text, PRIMARY KEY (job_id, number))',
  );
  await listener.query(`INSERT INTO job SELECT 'ftjob-' || n, 0 FROM generate_series(0, $1) AS n`, [
    WRITERS,
  ]);
  await listener.query('LISTEN bench');
  await notifier.query('SET synchronous_commit = off');
  console.log(`load before: ${loadavg()[0].toFixed(2)}`);
  for (let round = 0; round < ROUNDS; round++) {
    const inTransaction = await commits(writers, notifier, true);
    const separate = await commits(writers, notifier, false);
    console.log(
      `${WRITERS} writers: ${inTransaction.toFixed(0)} commits/s with NOTIFY in the transaction, ${separate.toFixed(0)} with a separate notifier`,
    );
  }
  console.log(`load after: ${loadavg()[0].toFixed(2)}`);
} finally {
  await Promise.all(open.map((client) => client.end()));
  await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
  await admin.end();
}
