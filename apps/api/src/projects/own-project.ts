import { DomainError } from '@graft/contracts';
import { isAdmin, type Principal } from '../auth/principal.js';

/** The id of a project that the caller may manage: another's does not exist for an owner. */
export function ownProject(caller: Principal, id: string): string {
  if (isAdmin(caller) || id === caller.projectId) return id;
  throw new DomainError('not_found', `no such project: ${id.slice(0, 60)}`, 'project_id');
}
