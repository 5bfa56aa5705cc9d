import { DomainError } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import type { Database } from '../../database/database.js';

/**
 * SQL that selects the valid keys: not revoked or expired, of a project that is not archived and, if they belong to a
 * member, of a member who was not removed.
 */
export const VALID_KEYS = `api_key key JOIN project ON project.id = key.project_id
  LEFT JOIN member ON member.id = key.member_id AND member.project_id = key.project_id
  WHERE key.revoked_at IS NULL AND (key.expires_at IS NULL OR key.expires_at > clock_timestamp())
    AND project.archived_at IS NULL
    AND (key.member_id IS NULL OR (member.id IS NOT NULL AND member.removed_at IS NULL))`;

/**
 * Rejects a change that would leave the installation without an administrator's key, now or when the remaining keys
 * expire. It locks all administrators' keys, so that two concurrent changes see each other. The keys are counted by a
 * second statement: one that waited for a lock sees the locked rows but no other changes that were committed
 * meanwhile.
 * @throws DomainError conflict
 */
export async function requireRemainingAdminKey(
  database: Database,
  manager: EntityManager,
  goes: (key: { readonly id: string; readonly project_id: string }) => boolean,
  what: string,
): Promise<void> {
  await database.query(
    `SELECT id FROM api_key WHERE scopes @> '["admin"]' AND revoked_at IS NULL ORDER BY id FOR UPDATE`,
    [],
    manager,
  );
  const admins = await database.query<{ id: string; project_id: string; lasts: boolean }>(
    `SELECT key.id, key.project_id, key.expires_at IS NULL AS lasts FROM ${VALID_KEYS}
       AND key.scopes @> '["admin"]' AND key.member_id IS NULL`,
    [],
    manager,
  );
  const going = admins.filter(goes);
  if (going.length === 0) return;
  const left = admins.filter((key) => !going.includes(key));
  const lasting = left.some(({ lasts }) => lasts) || !going.some(({ lasts }) => lasts);
  if (left.length > 0 && lasting) return;
  const kind = left.length > 0 ? ' that does not expire' : '';
  throw new DomainError(
    'conflict',
    `${what} the last key with the admin scope${kind}; create another one first`,
    'id',
  );
}
