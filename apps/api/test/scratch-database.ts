// A database with the schema but without an API, on this machine's server if there is one, otherwise embedded.
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DataSource } from 'typeorm';
import { dataSource } from '../src/database/data-source.js';
import { startEmbeddedPostgres } from '../src/database/embedded-postgres.js';
import {
  dropDatabase,
  listens,
  migratedDatabase,
  POSTGRES,
  POSTGRES_PORT,
} from './test-databases.js';

export interface ScratchDatabase {
  readonly source: DataSource;
  readonly url: string;
  close(): Promise<void>;
}

export async function scratchDatabase(): Promise<ScratchDatabase> {
  const { url, drop } = (await listens(POSTGRES_PORT)) ? await onTheServer() : await embedded();
  const source = await dataSource(url).initialize();
  await source.runMigrations();
  return {
    source,
    url,
    close: async () => {
      await source.destroy();
      await drop();
    },
  };
}

interface Place {
  readonly url: string;
  drop(): Promise<unknown>;
}

async function onTheServer(): Promise<Place> {
  const name = await migratedDatabase();
  return { url: `${POSTGRES}/${name}`, drop: () => dropDatabase(name) };
}

async function embedded(): Promise<Place> {
  const home = mkdtempSync(join(tmpdir(), 'graft-scratch-'));
  chmodSync(home, 0o755);
  const server = await startEmbeddedPostgres(home);
  return {
    url: server.url,
    drop: async () => {
      await server.stop();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

export interface ScratchJob {
  readonly id: string;
  readonly project: string;
  readonly priority?: number;
  readonly pool?: string;
  readonly state?: string;
  readonly base?: string;
  readonly desired?: string;
  /** Seconds after a fixed time. */
  readonly created?: number;
  /** Seconds from now. */
  readonly notBefore?: number | null;
}

type Ask = <Row>(sql: string, values?: unknown[]) => Promise<Row[]>;

/** Inserts rows of jobs that have only the columns that the dispatch order depends on. */
export async function insertJobs(ask: Ask, jobs: readonly ScratchJob[]): Promise<void> {
  const column = <T>(of: (job: ScratchJob) => T): T[] => jobs.map(of);
  await ask(
    `INSERT INTO job (id, project_id, state, base_id, model, request, spec, training_file, pool, priority, phase_code,
       phase_message, desired_state, created_at, not_before)
     SELECT id, project, state, base, base, '{}', '{"peft": null}', 'file', pool, priority, state, '', desired,
       timestamptz '2026-01-01' + created * interval '1 second', now() + due * interval '1 second'
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $7::text[], $8::float8[], $9::float8[])
       AS j(id, project, state, base, pool, priority, desired, created, due)`,
    [
      column((job) => job.id),
      column((job) => job.project),
      column((job) => job.state ?? 'queued'),
      column((job) => job.base ?? 'base'),
      column((job) => job.pool ?? 'pool'),
      column((job) => job.priority ?? 100),
      column((job) => job.desired ?? 'run'),
      column((job) => job.created ?? 0),
      column((job) => job.notBefore ?? null),
    ],
  );
}

/** Returns seeded random numbers (mulberry32). */
export function randomFrom(seed: number): {
  below(n: number): number;
  one<T>(of: readonly T[]): T;
} {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n: number): number => Math.floor(next() * n);
  return { below, one: (of) => of[below(of.length)] as (typeof of)[number] };
}
