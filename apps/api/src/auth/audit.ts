import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import type { Principal } from './principal.js';

export interface AuditEntry {
  /** `null` for the server itself or a command on its machine. */
  readonly caller: Principal | null;
  /** Kind of target and what happened to it, such as "job.cancelled". */
  readonly action: `${string}.${string}`;
  /** Id of the target. */
  readonly target: string;
  /** Short details. Never a secret or a request body. */
  readonly detail?: Readonly<Record<string, unknown>>;
  /** Project whose owners may read the entry. Default: the caller's project; `null`: administrators only. */
  readonly projectId?: string | null;
}

/** Writes the audit log: who did what, when and from which address. */
@Injectable()
export class Audit {
  /**
   * Writes an entry; call it inside the transaction that makes the change. A request performs an action on a target
   * at most once, so a repeated insert is ignored: the transaction may be retried after its connection was lost
   * during COMMIT.
   */
  async write(manager: EntityManager, entry: AuditEntry): Promise<void> {
    await manager.query(insertAudit(1), auditValues(entry));
  }
}

const COLUMNS = [
  'project_id',
  'key_id',
  'member_id',
  'action',
  'target',
  'detail',
  'address',
  'request_id',
];

/** Returns the SQL that inserts an audit row; its parameters start at number `first`. */
export const insertAudit = (first: number): string =>
  `INSERT INTO audit (${COLUMNS.join()}) VALUES (${COLUMNS.map((_, n) => `$${first + n}`).join()}) ON CONFLICT DO NOTHING`;

/** Returns the parameters of {@link insertAudit}. */
export const auditValues = ({
  caller,
  action,
  target,
  detail,
  projectId,
}: AuditEntry): unknown[] => [
  projectId === undefined ? (caller?.projectId ?? null) : projectId,
  caller?.keyId ?? null,
  caller?.memberId ?? null,
  action,
  target,
  JSON.stringify(detail ?? {}),
  caller?.address ?? null,
  caller?.requestId ?? null,
];
