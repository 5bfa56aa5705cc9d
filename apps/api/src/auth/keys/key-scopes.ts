import { DomainError, PROJECT_SCOPES, ROLE_SCOPES, type Role, type Scope } from '@graft/contracts';
import type { ApiKey } from '../../database/entities/tenancy.js';
import { isAdmin, type Principal } from '../principal.js';

/** Scopes that reach beyond a project. Only an administrator may grant or revoke them. */
const BEYOND_PROJECT: readonly string[] = ['admin', 'metrics:read'];

const within = (role: Role, scope: string): boolean =>
  (ROLE_SCOPES[role] as readonly string[]).includes(scope);

/** Returns the scopes that a key has now. A changed role applies immediately, also to existing keys. */
export const effectiveScopes = (scopes: readonly string[], role: Role | null): readonly string[] =>
  role === null ? scopes : scopes.filter((scope) => within(role, scope));

/** Whether the caller may see and revoke a key. Owners of a project cannot manage administrators' keys. */
export const mayManageKey = (caller: Principal, { scopes }: Pick<ApiKey, 'scopes'>): boolean =>
  isAdmin(caller) || !scopes.some((scope) => BEYOND_PROJECT.includes(scope));

/**
 * Returns the scopes of a new key.
 * @throws DomainError if the caller is not allowed to grant the requested scopes
 */
export function grantableScopes(
  caller: Principal,
  role: Role | null,
  requested: readonly Scope[] | undefined,
): Scope[] {
  if (role !== null) {
    const beyond = requested?.find((scope) => !within(role, scope));
    if (beyond)
      throw new DomainError(
        'invalid_value',
        `scopes: a key of ${role === 'owner' ? 'an' : 'a'} ${role} can have ${ROLE_SCOPES[role].join(', ')}, not ${beyond}`,
        'scopes',
      );
    return [...(requested ?? ROLE_SCOPES[role])];
  }
  const beyond = requested?.find((scope) => BEYOND_PROJECT.includes(scope));
  if (beyond && !isAdmin(caller))
    throw new DomainError(
      'insufficient_scope',
      `scopes: only a key with the scope admin may create one with ${beyond}`,
      'scopes',
    );
  return [...(requested ?? PROJECT_SCOPES)];
}
