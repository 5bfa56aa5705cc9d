import type { ProblemObject } from '@graft/contracts';
import type { Principal } from '../../auth/principal.js';

export type Problem = Omit<ProblemObject, 'object'>;

/** A caller whose problems are searched. Administrators see those of all projects. */
export type Viewer = Pick<Principal, 'projectId'> & { readonly isAdmin: boolean };

/** SQL condition: a row's project is the caller's ($1), or the caller is an administrator ($2). */
export const visible = (table: string): string => `($2 OR ${table}.project_id = $1)`;

/** Maximum number of problems of one kind. */
export const MOST = 20;

/** Shortens a message to one line for a title. */
export function inTitle(message: string, most = 160): string {
  const line = message.replaceAll(/\s+/g, ' ').trim().replace(/\.$/, '');
  return line.length <= most ? line : `${line.slice(0, most - 1)}…`;
}
