import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  insertJobs,
  randomFrom,
  scratchDatabase,
  type ScratchDatabase,
  type ScratchJob,
} from '../../../test/scratch-database.js';
import { simulate } from '../../history/queue-simulation.js';
import { nextJobs } from './next-job.js';

// GRAFT_FUZZ_POOLS sets the number of random pools.
const POOLS = Number(process.env['GRAFT_FUZZ_POOLS'] ?? 150);

interface ProjectCase {
  readonly id: string;
  readonly weight: number;
  readonly limit: number | null;
  readonly archived: boolean;
  readonly granted: boolean;
  /** Recent slot seconds in the pool. */
  readonly used: number;
}

interface Case {
  readonly open: boolean;
  readonly projects: readonly ProjectCase[];
  readonly jobs: readonly Required<ScratchJob>[];
}

/** A random pool. It has few distinct values, so that ties occur and every rule decides somewhere. */
function randomCase(seed: number): Case {
  const random = randomFrom(seed);
  const open = random.below(4) > 0;
  const projects = Array.from({ length: 1 + random.below(6) }, (_, n) => ({
    id: `p${n}`,
    weight: random.one([1, 1, 1, 2, 3, 7]),
    limit: random.one([null, null, null, 0, 1, 2, 5]),
    archived: random.below(10) === 0,
    granted: random.below(2) === 0,
    used: random.one([0, 0, 60, 120, 3000]),
  }));
  const jobs = Array.from({ length: random.below(120) }, (_, n) => ({
    // Jobs of equal age are ordered by id, so the id must not depend on the age.
    id: `job${String(random.below(1e6)).padStart(6, '0')}-${n}`,
    project: random.one(projects).id,
    priority: random.one([100, 100, 100, 1, 50, 1000]),
    pool: random.one(['pool', 'pool', 'pool', 'elsewhere']),
    state: random.one(['queued', 'queued', 'queued', 'running', 'paused', 'succeeded']),
    base: random.one(['a', 'b', 'c']),
    desired: random.below(12) === 0 ? 'pause' : 'run',
    created: random.below(40),
    notBefore: random.one([null, null, -5, 3600]),
  }));
  return { open, projects, jobs };
}

/**
 * The rules as an independent implementation: assigns one job after another, each to the project whose turn
 * it is.
 */
function oracle({ open, projects, jobs }: Case): string[] {
  const older = (a: ScratchJob, b: ScratchJob): number =>
    (a.created ?? 0) - (b.created ?? 0) || (a.id < b.id ? -1 : 1);
  const running = (project: ProjectCase, pool: string | null): number =>
    jobs.filter(
      (job) =>
        job.project === project.id &&
        job.state === 'running' &&
        (pool === null || job.pool === pool),
    ).length;
  const lines = projects
    .filter((project) => !project.archived && (open || project.granted))
    .map((project) => ({
      project,
      here: running(project, 'pool'),
      everywhere: running(project, null),
      waiting: jobs
        .filter(
          (job) =>
            job.project === project.id &&
            job.pool === 'pool' &&
            job.state === 'queued' &&
            job.desired === 'run' &&
            (job.notBefore === null || job.notBefore < 0),
        )
        .sort((a, b) => a.priority - b.priority || older(a, b)),
    }));
  const given: string[] = [];
  for (;;) {
    const able = lines.filter(
      ({ project, everywhere, waiting }) =>
        waiting.length > 0 && (project.limit === null || everywhere < project.limit),
    );
    // A project at its limit gets no more jobs, not even one of a better priority.
    const best = able.sort((a, b) => {
      const [x, y] = [a.waiting[0] as ScratchJob, b.waiting[0] as ScratchJob];
      return (
        (x.priority ?? 0) - (y.priority ?? 0) ||
        a.here / a.project.weight - b.here / b.project.weight ||
        a.project.used / a.project.weight - b.project.used / b.project.weight ||
        older(x, y)
      );
    })[0];
    if (!best) return given;
    given.push(best.waiting.shift()?.id as string);
    best.here++;
    best.everywhere++;
  }
}

/** Order according to the simulation of starts, with a free slot for every job. */
function forecast({ open, projects, jobs }: Case): string[] {
  const aged = jobs.toSorted((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1));
  const starts = simulate({
    freeSlots: 1e6,
    running: jobs
      .filter((job) => job.state === 'running' && job.pool === 'pool')
      .map(({ project }) => ({ project, held: 1, left: 1e9 })),
    waiting: jobs
      .filter((job) => job.state === 'queued' && job.desired === 'run' && job.pool === 'pool')
      .map(({ id, project, priority, notBefore }) => ({
        id,
        project,
        priority,
        age: aged.findIndex((job) => job.id === id),
        dueIn: Math.max(0, notBefore ?? 0),
        seconds: 1e9,
      })),
    projects: projects
      .filter((project) => !project.archived && (open || project.granted))
      .map(({ id, weight, limit, used }) => ({
        id,
        weight,
        limit,
        used,
        elsewhere: jobs.filter(
          (job) => job.project === id && job.state === 'running' && job.pool !== 'pool',
        ).length,
      })),
  });
  return starts.filter(({ seconds }) => seconds === 0).map(({ id }) => id);
}

describe('the order of the jobs of a pool', () => {
  let scratch: ScratchDatabase;
  beforeAll(async () => {
    scratch = await scratchDatabase();
    await scratch.source.query('DELETE FROM project');
  });
  afterAll(() => scratch?.close());

  /** Order according to the SQL statement, in a transaction that is rolled back. */
  async function ordered({ open, projects, jobs }: Case, window: number | null): Promise<string[]> {
    const runner = scratch.source.createQueryRunner();
    const ask = async <Row>(sql: string, values: unknown[] = []): Promise<Row[]> =>
      (await runner.query(sql, values)) as Row[];
    await runner.startTransaction();
    try {
      await ask(`INSERT INTO pool (name, open) VALUES ('pool', $1)`, [open]);
      for (const project of projects) {
        await ask(
          `INSERT INTO project (id, name, weight, limits, archived_at)
           VALUES ($1, $1, $2, $3, CASE WHEN $4 THEN now() END)`,
          [
            project.id,
            project.weight,
            JSON.stringify(project.limit === null ? {} : { running_jobs: project.limit }),
            project.archived,
          ],
        );
        if (project.granted)
          await ask(`INSERT INTO pool_grant (pool, project_id) VALUES ('pool', $1)`, [project.id]);
        // An hour ago it was twice as much: the half-life is an hour.
        if (project.used > 0)
          await ask(
            `INSERT INTO pool_use (pool, project_id, seconds, at)
             VALUES ('pool', $1, $2 * 2, now() - interval '1 hour'), ('elsewhere', $1, 9e9, now())`,
            [project.id, project.used],
          );
      }
      await insertJobs(ask, jobs);
      const rows = await ask<{ id: string; place: string }>(
        `SELECT id, place FROM (${nextJobs('$1', window)}) AS next ORDER BY place`,
        ['pool'],
      );
      expect(rows.map(({ place }) => Number(place))).toEqual(rows.map((_, n) => n + 1));
      return rows.map(({ id }) => id);
    } finally {
      await runner.rollbackTransaction();
      await runner.release();
    }
  }

  it(`follows the rules in ${POOLS} random pools`, async () => {
    let longest = 0;
    for (let seed = 1; seed <= POOLS; seed++) {
      const one = randomCase(seed);
      const wanted = oracle(one);
      longest = Math.max(longest, wanted.length);
      expect({ seed, order: await ordered(one, null) }).toEqual({ seed, order: wanted });
      expect({ seed, order: forecast(one) }).toEqual({ seed, order: wanted });
      // A query for one job per project returns the same first job.
      if (seed % 10 === 0) expect((await ordered(one, 1))[0]).toBe(wanted[0]);
    }
    expect(longest).toBeGreaterThan(20);
  }, 120_000);
});
