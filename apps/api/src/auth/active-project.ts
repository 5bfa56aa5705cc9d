import { DomainError } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import type { Database } from '../database/database.js';
import type { Project } from '../database/entities/tenancy.js';

/**
 * Returns the project with a row lock (`FOR KEY SHARE`) until the transaction ends, so that it cannot be archived
 * meanwhile: archiving locks the whole row.
 * @throws DomainError if the project does not exist or is archived
 */
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
  if (!project) throw new DomainError('not_found', `project not found: ${projectId}`, 'project_id');
  if (project.archived_at)
    throw new DomainError(
      'conflict',
      `${projectId} is archived and cannot be changed`,
      'project_id',
    );
  return project;
}
