import { DomainError, PROJECT_SCOPES, ROLE_SCOPES, type Role, type Scope } from '@graft/contracts';
import type { ApiKey } from '../../database/entities/tenancy.js';
import { isAdmin, type Principal } from '../principal.js';

/** Scopes that reach beyond a project: only an administrator gives them, and takes them back. */
const BEYOND_PROJECT: readonly string[] = ['admin', 'metrics:read'];

const within = (role: Role, scope: string): boolean =>
  (ROLE_SCOPES[role] as readonly string[]).includes(scope);

/** What a key may do now. A role that was changed counts at once, for keys that were made before, too. */
export const effectiveScopes = (scopes: readonly string[], role: Role | null): readonly string[] =>
  role === null ? scopes : scopes.filter((scope) => within(role, scope));

/** Whether a key is the caller's to see and to revoke: those of administrators are not the project's. */
export const manages = (caller: Principal, { scopes }: Pick<ApiKey, 'scopes'>): boolean =>
  isAdmin(caller) || !scopes.some((scope) => BEYOND_PROJECT.includes(scope));

/** The scopes that a new key gets, or why it may not have those that were asked for. */
export function grantableScopes(
  caller: Principal,
  role: Role | null,
  asked: readonly Scope[] | undefined,
): Scope[] {
  if (role !== null) {
    const beyond = asked?.find((scope) => !within(role, scope));
    if (beyond)
      throw new DomainError(
        'invalid_value',
        `scopes: a key of ${role === 'owner' ? 'an' : 'a'} ${role} may have ${ROLE_SCOPES[role].join(', ')}, not ${beyond}`,
        'scopes',
      );
    return [...(asked ?? ROLE_SCOPES[role])];
  }
  const beyond = asked?.find((scope) => BEYOND_PROJECT.includes(scope));
  if (beyond && !isAdmin(caller))
    throw new DomainError(
      'insufficient_scope',
      `scopes: only a key with the scope admin may create one with ${beyond}`,
      'scopes',
    );
  return [...(asked ?? PROJECT_SCOPES)];
}
