import { DomainError } from '@graft/contracts';
import { isAdmin, type Principal } from '../auth/principal.js';

/** Returns the id of a project that the caller may manage. For an owner, other projects do not exist. */
export function ownProject(caller: Principal, id: string): string {
  if (isAdmin(caller) || id === caller.projectId) return id;
  throw new DomainError('not_found', `no such project: ${id.slice(0, 60)}`, 'project_id');
}
