import { DomainError } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { isAdmin, type Principal } from '../auth/principal.js';
import { Project } from '../database/entities/tenancy.js';

export const noSuchProject = (id: string): DomainError =>
  new DomainError('not_found', `no such project: ${id.slice(0, 60)}`, 'project_id');

/** Returns the id of a project that the caller may manage. For an owner, other projects are not found. */
export function ownProject(caller: Principal, id: string): string {
  if (isAdmin(caller) || id === caller.projectId) return id;
  throw noSuchProject(id);
}

/** Locks the row of a project until the transaction ends. */
export async function lockedProject(manager: EntityManager, id: string): Promise<Project> {
  const found = await manager
    .getRepository(Project)
    .findOne({ where: { id }, lock: { mode: 'pessimistic_write' } });
  if (!found) throw noSuchProject(id);
  return found;
}
