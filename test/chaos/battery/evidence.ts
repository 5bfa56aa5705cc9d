// Reads the state of a cluster without the service: rows, files, and a record written by the battery's own
// triggers.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cluster } from './cluster.js';
import type { AttemptRow, Evidence, JobRow, Watched, WitnessRow } from './checker.js';
import type { History } from './history.js';

/** Records which attempt of its job was current when each fact from a worker was stored. */
const WITNESS = `
  CREATE SCHEMA battery;
  CREATE TABLE battery.witness (job_id text, what text, attempt int, current int, state text);
  CREATE FUNCTION battery.note() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    INSERT INTO battery.witness
      SELECT NEW.job_id, TG_TABLE_NAME, NEW.attempt, job.attempt, job.state
      FROM public.job WHERE job.id = NEW.job_id;
    RETURN NULL;
  END $$;
  CREATE TRIGGER battery AFTER INSERT ON public.metric FOR EACH ROW EXECUTE FUNCTION battery.note();
  CREATE TRIGGER battery AFTER INSERT ON public.evaluation FOR EACH ROW EXECUTE FUNCTION battery.note();
  CREATE TRIGGER battery AFTER INSERT ON public.checkpoint FOR EACH ROW EXECUTE FUNCTION battery.note();`;

export async function installWitness(cluster: Cluster): Promise<void> {
  await cluster.query(WITNESS);
}

export const jobRows = (cluster: Cluster): Promise<JobRow[]> =>
  cluster.query<JobRow>(`
    SELECT id, state, attempt, total_steps, step, replay_mismatches, error,
      metadata->>'token' AS token, metadata->>'control' AS control,
      (SELECT sha256 FROM file WHERE job_id = job.id AND filename = 'adapter_model.safetensors') AS adapter
    FROM job ORDER BY created_at`);

/** Event numbers by job. */
export async function eventNumbers(cluster: Cluster): Promise<Map<string, number[]>> {
  const rows = await cluster.query<{ job_id: string; numbers: number[] }>(
    'SELECT job_id, array_agg(number ORDER BY number) AS numbers FROM event GROUP BY job_id',
  );
  return new Map(rows.map(({ job_id, numbers }) => [job_id, numbers]));
}

/** Age of the unsent wake-ups of queued jobs, in milliseconds. */
export const unsent = async (cluster: Cluster): Promise<number[]> =>
  (
    await cluster.query<{ ms: number }>(
      `SELECT EXTRACT(EPOCH FROM clock_timestamp() - GREATEST(outbox.not_before, outbox.created_at))::float8 * 1000 AS ms
       FROM outbox JOIN job ON job.id = outbox.job_id AND job.state = 'queued' AND job.attempt = outbox.attempt
       WHERE sent_at IS NULL`,
    )
  ).map(({ ms }) => ms);

/** @param cluster whose processes have ended */
export async function evidence(
  cluster: Cluster,
  history: History,
  watched: readonly Watched[],
  unsentForMs: readonly number[],
): Promise<Evidence> {
  const jobs = await jobRows(cluster);
  const metrics = await cluster.query<{
    job_id: string;
    attempt: number;
    step: number;
    loss: string;
  }>(`SELECT job_id, attempt, step, values->>'loss' AS loss FROM metric`);
  const ofControl = (id: string) =>
    new Map(metrics.filter(({ job_id }) => job_id === id).map(({ step, loss }) => [step, loss]));
  // Controls were created before the faults and have no token.
  const controls = jobs.filter(({ token, control }) => token === null && control !== null);
  return {
    history: history.entries,
    jobs,
    metrics,
    attempts: await cluster.query<AttemptRow>(
      `SELECT job_id, number, from_step, outcome, EXTRACT(EPOCH FROM assigned_at)::float8 * 1000 AS "assignedMs",
         EXTRACT(EPOCH FROM ended_at)::float8 * 1000 AS "endedMs" FROM attempt ORDER BY job_id, number`,
    ),
    witnesses: await cluster.query<WitnessRow>(
      `SELECT * FROM battery.witness WHERE attempt <> current OR state <> 'running'`,
    ),
    events: await eventNumbers(cluster),
    watched,
    named: (
      await cluster.query<{ owner: string; sha256: string }>(
        `SELECT kind || ' ' || owner_id AS owner, sha256 FROM blob_ref`,
      )
    ).map(({ owner, sha256 }) => ({ owner, sha256 })),
    blobs: (await cluster.query<{ sha256: string }>('SELECT sha256 FROM blob')).map(
      ({ sha256 }) => sha256,
    ),
    files: blobFiles(cluster.blobs),
    unsentForMs,
    controls: new Map(
      controls.map(({ id, control, adapter }) => [
        control as string,
        { adapter: adapter ?? '', losses: ofControl(id) },
      ]),
    ),
  };
}

/** Blob files by name, with the SHA-256 of their content. */
function blobFiles(folder: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const first of readdirSync(folder))
    if (/^[0-9a-f]{2}$/.test(first))
      for (const name of readdirSync(join(folder, first)))
        files.set(
          name,
          createHash('sha256')
            .update(readFileSync(join(folder, first, name)))
            .digest('hex'),
        );
  return files;
}
