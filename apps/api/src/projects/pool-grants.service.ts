import { Injectable } from '@nestjs/common';
import {
  DomainError,
  parseBody,
  POOL_NAME,
  POOL_NAME_RULE,
  type Page,
  type PoolGrantObject,
  type PoolObject,
} from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { z } from 'zod';
import { requireActive } from '../auth/active-project.js';
import { Audit } from '../auth/audit.js';
import { poolAllowed, Pools } from '../auth/pools.js';
import { isAdmin, type Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { Pool, PoolGrant } from '../database/entities/tenancy.js';
import { unix } from '../ids.js';
import { PoolLoad, type Load } from '../dispatch/pool-load.js';
import { WakeUps } from '../wake/wake-ups.js';

export const ModifyPool = z.strictObject({
  open: z
    .boolean()
    .describe('true: every project may use the pool; false: only projects with a grant'),
});
export const GrantPool = z.strictObject({ project_id: z.string().min(1).max(100) });

interface Granted {
  readonly pool: string;
  readonly project_id: string;
  readonly project_name: string;
  readonly created_at: Date;
}

/** Lists pools and changes which projects may use them for jobs and chats. */
@Injectable()
export class PoolGrants {
  constructor(
    private readonly database: Database,
    private readonly audit: Audit,
    private readonly pools: Pools,
    private readonly load: PoolLoad,
    private readonly wakeUps: WakeUps,
  ) {}

  /**
   * Administrators see all pools; other callers see the pools that their project may use. `name` selects
   * one pool.
   */
  async list(caller: Principal, name: unknown): Promise<Page<PoolObject>> {
    const one = typeof name === 'string' && name !== '' ? name : null;
    return { object: 'list', data: await this.objects(caller, one), has_more: false };
  }

  async get(caller: Principal, name: string): Promise<PoolObject> {
    const [pool] = await this.objects(caller, name);
    if (!pool) throw noSuchPool(name);
    return { ...pool, load: await this.load.lastHour(name) };
  }

  /** Opens a pool to every project, or closes it to all projects without a grant. */
  async modify(caller: Principal, name: string, body: unknown): Promise<PoolObject> {
    const { open } = parseBody(ModifyPool, body);
    await this.database.transaction(async (manager) => {
      await this.locked(manager, name);
      await manager.getRepository(Pool).update({ name }, { open });
      const action = open ? ('pool.opened' as const) : ('pool.closed' as const);
      await this.audit.write(manager, { caller, action, target: name, projectId: null });
      await this.announce(manager, name);
    });
    return this.get(caller, name);
  }

  /**
   * Cordons or uncordons a pool. Its workers, including those that join later, start no new jobs or chats
   * while it is cordoned; running jobs continue.
   */
  async cordon(caller: Principal, name: string, cordoned: boolean): Promise<PoolObject> {
    await this.database.transaction(async (manager) => {
      await this.locked(manager, name);
      await manager.getRepository(Pool).update({ name }, { cordoned });
      const action = cordoned ? ('pool.cordoned' as const) : ('pool.uncordoned' as const);
      await this.audit.write(manager, { caller, action, target: name, projectId: null });
      await this.announce(manager, name);
    });
    return this.get(caller, name);
  }

  /**
   * Grants a pool, which need not have a worker yet. After its first grant, only projects with a grant may
   * use it.
   */
  async grant(caller: Principal, name: string, body: unknown): Promise<PoolObject> {
    const { project_id } = parseBody(GrantPool, body);
    if (!POOL_NAME.test(name))
      throw new DomainError('invalid_value', `pool: ${POOL_NAME_RULE}`, 'pool');
    await this.database.transaction(async (manager) => {
      await this.pools.ensure(name, manager);
      await this.locked(manager, name);
      await requireActive(this.database, manager, project_id);
      await this.database.query(
        'INSERT INTO pool_grant (pool, project_id) VALUES ($1, $2) ON CONFLICT DO NOTHING',
        [name, project_id],
        manager,
      );
      await manager.getRepository(Pool).update({ name }, { open: false });
      await this.writeAudit(manager, caller, 'pool.granted', name, project_id);
      await this.announce(manager, name);
    });
    return this.get(caller, name);
  }

  /** Revokes a grant. The pool stays closed, queued jobs stay queued, and running jobs continue. */
  async revoke(caller: Principal, name: string, projectId: string): Promise<PoolObject> {
    const grant = { pool: name, project_id: projectId };
    if (!(await this.database.manager.getRepository(PoolGrant).existsBy(grant)))
      throw new DomainError('not_found', `${name} is not granted to ${projectId}`, 'project_id');
    await this.database.transaction(async (manager) => {
      await this.locked(manager, name);
      await manager.getRepository(PoolGrant).delete(grant);
      await this.writeAudit(manager, caller, 'pool.revoked', name, projectId);
      await this.announce(manager, name);
    });
    return this.get(caller, name);
  }

  private async locked(manager: EntityManager, name: string): Promise<void> {
    const rows = await this.database.query(
      'SELECT 1 FROM pool WHERE name = $1 FOR UPDATE',
      [name],
      manager,
    );
    if (rows.length === 0) throw noSuchPool(name);
  }

  private writeAudit(
    manager: EntityManager,
    caller: Principal,
    action: `pool.${string}`,
    target: string,
    projectId: string,
  ): Promise<void> {
    const detail = { project: projectId };
    return this.audit.write(manager, { caller, action, target, detail, projectId });
  }

  /**
   * Notifies streams of the pool's queued jobs: such a job may now be leased, or waits for another reason.
   * Skips jobs whose row is locked, because the process that holds the lock announces them.
   */
  private async announce(manager: EntityManager, pool: string): Promise<void> {
    const jobs = await this.database.query<{ id: string; project_id: string }>(
      `UPDATE job SET updated_at = clock_timestamp() WHERE id IN (
         SELECT id FROM job WHERE pool = $1 AND state = 'queued' FOR UPDATE SKIP LOCKED)
       RETURNING id, project_id`,
      [pool],
      manager,
    );
    this.wakeUps.announce(
      `pool:${pool}`,
      ...new Set(jobs.map((job) => `project:${job.project_id}` as const)),
    );
    for (const { id } of jobs) this.wakeUps.announce(`job:${id}`);
  }

  private async objects(caller: Principal, name: string | null): Promise<PoolObject[]> {
    const pools = await this.database.query<Pool>(
      `SELECT * FROM pool WHERE ($1::text IS NULL OR name = $1)
         AND ($2 OR ${poolAllowed('pool.name', '$3')}) ORDER BY name`,
      [name, isAdmin(caller), caller.projectId],
    );
    const loads = await this.load.now(name);
    const grants = isAdmin(caller) ? await this.grantsOf(pools.map((pool) => pool.name)) : null;
    return pools.map((pool) => ({
      object: 'graft.pool',
      id: pool.name,
      open: pool.open,
      cordoned: pool.cordoned,
      created_at: unix(pool.created_at),
      ...loadOf(loads.get(pool.name)),
      ...(grants && { grants: grants.filter((one) => one.pool === pool.name).map(grantObject) }),
    }));
  }

  private grantsOf(pools: readonly string[]): Promise<Granted[]> {
    return this.database.query<Granted>(
      `SELECT pool, project_id, project.name AS project_name, pool_grant.created_at
       FROM pool_grant JOIN project ON project.id = project_id
       WHERE pool = ANY($1) AND archived_at IS NULL ORDER BY pool_grant.created_at, project_id`,
      [pools],
    );
  }
}

const rounded = (seconds: number | null | undefined): number | null =>
  seconds == null ? null : Math.round(seconds);

/** Load of a pool. It is undefined for a pool that was created a moment ago. */
const loadOf = (load: Load | undefined) => ({
  queued: load?.queued ?? 0,
  longest_wait: rounded(load?.longest),
  median_wait: rounded(load?.median),
  running: load?.running ?? 0,
  workers: {
    online: load?.online ?? 0,
    draining: load?.draining ?? 0,
    cordoned: load?.cordoned ?? 0,
    offline: load?.offline ?? 0,
  },
  slots: load?.slots ?? 0,
  free_slots: load?.free_slots ?? 0,
});

const grantObject = (grant: Granted): PoolGrantObject => ({
  project_id: grant.project_id,
  project_name: grant.project_name,
  granted_at: unix(grant.created_at),
});

const noSuchPool = (name: string): DomainError =>
  new DomainError('not_found', `no such pool: ${name.slice(0, 80)}`, 'pool');
