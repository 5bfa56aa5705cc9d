import { Injectable } from '@nestjs/common';
import {
  DomainError,
  parseBody,
  type Page,
  type ProjectLimits,
  type ProjectObject,
} from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { z } from 'zod';
import { DEFAULT_PROJECT } from '../auth/keys/api-keys.service.js';
import { Audit } from '../auth/audit.js';
import { poolAllowed } from '../auth/pools.js';
import { isAdmin, type Principal } from '../auth/principal.js';
import { requireRemainingAdminKey } from '../auth/keys/valid-keys.js';
import { Database } from '../database/database.js';
import { Project } from '../database/entities/tenancy.js';
import { pageOf, pageQuery } from '../http/parse.js';
import { newId, unix, unixOrNull } from '../ids.js';
import { ArchivedProjects } from '../dispatch/archived-projects.js';
import { lockedProject, noSuchProject, ownProject } from './own-project.js';

const limit = (most: number) =>
  z
    .int()
    .min(0)
    .max(most)
    .nullish()
    .describe('null removes the limit. If absent, the limit does not change');
const Count = limit(1_000_000);
const Amount = limit(Number.MAX_SAFE_INTEGER);

const Limits = z.strictObject({
  storage_bytes: Amount,
  running_jobs: Count,
  queued_jobs: Count,
  tokens_per_day: Amount,
  chats: Count,
  eval_runs: Count,
  priority: z
    .int()
    .min(1)
    .max(1000)
    .nullish()
    .describe('Lowest graft.priority that jobs of the project may have'),
} satisfies Record<keyof ProjectLimits, z.ZodType>);

const Name = z.string().trim().min(1).max(100);

const Share = z.strictObject({
  weight: z
    .int()
    .min(1)
    .max(1000)
    .optional()
    .describe(
      "Share of a pool's slots relative to other projects with queued jobs; 1 if never set",
    ),
  limits: Limits.optional(),
});

export const CreateProject = z.strictObject({ name: Name, graft: Share.optional() });
export const ModifyProject = z.strictObject({ name: Name.optional(), graft: Share.optional() });

type Row = Project & {
  readonly running_jobs: number;
  readonly queued_jobs: number;
  readonly pools: string[];
};

/** Creates, changes and archives projects. project-deletion.service deletes them. */
@Injectable()
export class ProjectsService {
  constructor(
    private readonly database: Database,
    private readonly audit: Audit,
    private readonly archived: ArchivedProjects,
  ) {}

  /** Administrators see all projects; other callers see their own. */
  async list(caller: Principal, query: Record<string, unknown>): Promise<Page<ProjectObject>> {
    const { limit, after } = pageQuery(query, 20, 100);
    const archived = query['include_archived'] === 'true';
    const rows = await this.rows(
      `($1::text IS NULL OR id = $1) AND ($2 OR archived_at IS NULL)
         AND ($3::text IS NULL OR (created_at, id) > (SELECT created_at, id FROM project WHERE id = $3))`,
      [isAdmin(caller) ? null : caller.projectId, archived, after],
      limit + 1,
    );
    return pageOf(rows, limit, projectObject);
  }

  async get(caller: Principal, id: string): Promise<ProjectObject> {
    const [row] = await this.rows('id = $1', [ownProject(caller, id)], 1);
    if (!row) throw noSuchProject(id);
    return projectObject(row);
  }

  async create(caller: Principal, body: unknown): Promise<ProjectObject> {
    const { name, graft } = parseBody(CreateProject, body);
    const id = newId('proj-');
    const project = { id, name, weight: graft?.weight ?? 1, limits: limitsOf({}, graft?.limits) };
    await this.database.transaction(async (manager) => {
      // An earlier run of the transaction may have inserted it.
      await manager.getRepository(Project).upsert(project, ['id']);
      await this.writeAudit(manager, caller, 'project.created', id, { name, ...graft });
    });
    return this.get({ ...caller, projectId: id }, id);
  }

  /** Owners may change a project's name; only administrators may change its weight and limits. */
  async modify(caller: Principal, id: string, body: unknown): Promise<ProjectObject> {
    const { name, graft } = parseBody(ModifyProject, body);
    if (graft !== undefined && !isAdmin(caller))
      throw new DomainError(
        'insufficient_scope',
        'graft: only a key with the scope admin may set the weight and the limits of a project',
        'graft',
      );
    await this.database.transaction(async (manager) => {
      const project = await lockedProject(manager, ownProject(caller, id));
      if (project.archived_at)
        throw new DomainError('conflict', `${id} is archived and cannot be changed`, 'project_id');
      await manager.getRepository(Project).update(
        { id },
        {
          name: name ?? project.name,
          weight: graft?.weight ?? project.weight,
          limits: limitsOf(project.limits, graft?.limits),
        },
      );
      await this.writeAudit(manager, caller, 'project.updated', id, {
        ...(name && { name }),
        ...graft,
      });
    });
    return this.get(caller, id);
  }

  /**
   * Archives a project: its keys stop working, its pools are closed to it, and its unfinished jobs are
   * cancelled, up to 100 immediately and the others soon after. Files, models and history are kept.
   */
  async archive(caller: Principal, id: string): Promise<ProjectObject> {
    if (id === DEFAULT_PROJECT)
      throw new DomainError('conflict', 'the default project cannot be archived', 'project_id');
    await this.database.transaction(async (manager) => {
      const { archived_at } = await lockedProject(manager, id);
      if (archived_at === null)
        await requireRemainingAdminKey(
          this.database,
          manager,
          (key) => key.project_id === id,
          `${id} holds`,
        );
      await this.database.query(
        'UPDATE project SET archived_at = COALESCE(archived_at, clock_timestamp()) WHERE id = $1',
        [id],
        manager,
      );
      await this.writeAudit(manager, caller, 'project.archived', id, {});
    });
    await this.archived.cancelSome(id);
    return this.get(caller, id);
  }

  private writeAudit(
    manager: EntityManager,
    caller: Principal,
    action: `project.${string}`,
    id: string,
    detail: Record<string, unknown>,
  ): Promise<void> {
    return this.audit.write(manager, { caller, action, target: id, detail, projectId: id });
  }

  private rows(where: string, values: readonly unknown[], limit: number): Promise<Row[]> {
    const jobs = (state: string): string =>
      `(SELECT count(*)::int FROM job WHERE project_id = project.id AND state = '${state}') AS ${state}_jobs`;
    return this.database.query<Row>(
      `SELECT project.*, ${jobs('running')}, ${jobs('queued')},
         ARRAY(SELECT name FROM pool WHERE ${poolAllowed('pool.name', 'project.id')} ORDER BY name) AS pools
       FROM project WHERE ${where} ORDER BY created_at, id LIMIT ${limit}`,
      [...values],
    );
  }
}

/** Merges limits. A limit of null is removed. */
function limitsOf(before: ProjectLimits, changes: z.infer<typeof Limits> = {}): ProjectLimits {
  const all = Object.entries({ ...before, ...changes });
  return Object.fromEntries(all.filter(([, value]) => value !== null && value !== undefined));
}

function projectObject(row: Row): ProjectObject {
  const { weight, limits, running_jobs, queued_jobs, pools } = row;
  return {
    object: 'organization.project',
    id: row.id,
    name: row.name,
    created_at: unix(row.created_at),
    archived_at: unixOrNull(row.archived_at),
    status: row.archived_at ? 'archived' : 'active',
    graft: {
      weight,
      limits,
      running_jobs,
      queued_jobs,
      pools,
      deletes_at: unixOrNull(row.deletes_at),
    },
  };
}
