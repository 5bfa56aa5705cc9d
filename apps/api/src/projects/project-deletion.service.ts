import { Injectable } from '@nestjs/common';
import { DomainError, type ProjectDeletionObject, type ProjectObject } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { DEFAULT_PROJECT } from '../auth/keys/api-keys.service.js';
import { Audit } from '../auth/audit.js';
import type { Principal } from '../auth/principal.js';
import { requireRemainingAdminKey } from '../auth/keys/valid-keys.js';
import { StorageQuota } from '../blobs/storage-quota.js';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { Project } from '../database/entities/tenancy.js';
import { unix } from '../ids.js';
import { ArchivedProjects } from '../dispatch/archived-projects.js';
import { contentsOf } from './project-contents.js';
import { lockedProject, noSuchProject } from './own-project.js';
import { ProjectsService } from './projects.service.js';

/**
 * SQL: time at which a project is deleted if deletion is requested now. At least an hour, so that requests
 * in progress can finish.
 */
const DELETES_AT = `clock_timestamp() + GREATEST($2 * interval '1 day', interval '1 hour')`;

/** Requests and withdraws the deletion of projects. retention/deleted-projects deletes due projects. */
@Injectable()
export class ProjectDeletions {
  constructor(
    private readonly database: Database,
    private readonly settings: Settings,
    private readonly audit: Audit,
    private readonly storage: StorageQuota,
    private readonly projects: ProjectsService,
    private readonly archived: ArchivedProjects,
  ) {}

  /** Returns what the deletion of a project deletes, whether or not it was requested. */
  async preview(id: string): Promise<ProjectDeletionObject> {
    const [project] = await this.database.query<Project & { would_delete_at: Date }>(
      `SELECT project.*, ${DELETES_AT} AS would_delete_at FROM project WHERE id = $1`,
      [id, this.settings.projectDeleteDays],
    );
    if (!project) throw noSuchProject(id);
    return {
      object: 'organization.project.deletion',
      project_id: id,
      name: project.name,
      requested_at: project.deleted_at && unix(project.deleted_at),
      deletes_at: unix(project.deletes_at ?? project.would_delete_at),
      ...(await contentsOf(this.database, id, await this.storage.used(id))),
    };
  }

  /**
   * Archives the project immediately and schedules the deletion of its rows for the end of the restore
   * period. Does not count the rows, which could take too long after the deletion was accepted.
   */
  async remove(caller: Principal, id: string): Promise<ProjectObject> {
    if (id === DEFAULT_PROJECT)
      throw new DomainError('conflict', 'the default project cannot be deleted', 'project_id');
    await this.database.transaction(async (manager) => {
      const project = await lockedProject(manager, id);
      // An earlier run of this transaction may have committed before its connection was lost.
      if (project.deletes_at) return;
      if (!project.archived_at)
        await requireRemainingAdminKey(
          this.database,
          manager,
          (key) => key.project_id === id,
          `${id} holds`,
        );
      const [row] = await this.database.query<{ deletes_at: Date }>(
        `UPDATE project SET deleted_at = now(), archived_at = COALESCE(archived_at, now()), deletes_at = ${DELETES_AT}
         WHERE id = $1 RETURNING deletes_at`,
        [id, this.settings.projectDeleteDays],
        manager,
      );
      if (!row) throw noSuchProject(id);
      await this.writeAudit(manager, caller, 'project.deletion_requested', project, {
        deletes_at: unix(row.deletes_at),
      });
    });
    await this.archived.cancelSome(id);
    return this.projects.get(caller, id);
  }

  /**
   * Withdraws the deletion. A project that was archived before stays archived, and cancelled jobs stay
   * cancelled.
   */
  async restore(caller: Principal, id: string): Promise<ProjectObject> {
    await this.database.transaction(async (manager) => {
      const project = await lockedProject(manager, id);
      if (!project.deletes_at) return;
      const restored = await this.database.query(
        `UPDATE project SET archived_at = CASE WHEN archived_at = deleted_at THEN NULL ELSE archived_at END,
           deleted_at = NULL, deletes_at = NULL
         WHERE id = $1 AND deletes_at > clock_timestamp() RETURNING id`,
        [id],
        manager,
      );
      if (restored.length === 0)
        throw new DomainError(
          'conflict',
          `${id} is being deleted and can no longer be restored`,
          'project_id',
        );
      await this.writeAudit(manager, caller, 'project.restored', project, {});
    });
    return this.projects.get(caller, id);
  }

  private writeAudit(
    manager: EntityManager,
    caller: Principal,
    action: 'project.deletion_requested' | 'project.restored',
    { id, name }: Project,
    detail: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    return this.audit.write(manager, {
      caller,
      action,
      target: id,
      detail: { name, ...detail },
      projectId: id,
    });
  }
}
