import { DomainError } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import type { Database } from '../database/database.js';
import type { Project } from '../database/entities/tenancy.js';

/** An archived project stays as it is: held here until the transaction has written. Archiving locks the whole row. */
export async function requireActive(
  database: Database,
  manager: EntityManager,
  projectId: string,
): Promise<Project> {
  const [project] = await database.query<Project>(
    'SELECT * FROM project WHERE id = $1 FOR KEY SHARE',
    [projectId],
    manager,
  );
  if (!project) throw new DomainError('not_found', `no such project: ${projectId}`, 'project_id');
  if (project.archived_at)
    throw new DomainError(
      'conflict',
      `${projectId} is archived and cannot be changed`,
      'project_id',
    );
  return project;
}
