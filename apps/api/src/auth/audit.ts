import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import type { Principal } from './principal.js';

export interface Deed {
  /** Null: the server itself, or a command on its machine. */
  readonly caller: Principal | null;
  /** What it was done to, and what was done: "job.cancelled". */
  readonly action: `${string}.${string}`;
  /** Its id. */
  readonly target: string;
  /** A few words of it; never a secret, never a body. */
  readonly detail?: Readonly<Record<string, unknown>>;
  /** Whose owners may read it: the caller's own project unless said otherwise, null the installation's alone. */
  readonly projectId?: string | null;
}

/** Who did what, when and from where. */
@Injectable()
export class Audit {
  /**
   * Call it inside the transaction that does it. A request does one thing to one target once: the row that an earlier
   * run of the transaction left, whose connection was lost after its COMMIT, is not written again.
   */
  async write(manager: EntityManager, deed: Deed): Promise<void> {
    await manager.query(insertAudit(1), auditValues(deed));
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

/** SQL: writes the row, whose columns are parameters from `first` on. */
export const insertAudit = (first: number): string =>
  `INSERT INTO audit (${COLUMNS.join()}) VALUES (${COLUMNS.map((_, n) => `$${first + n}`).join()}) ON CONFLICT DO NOTHING`;

/** The parameters of that. */
export const auditValues = ({ caller, action, target, detail, projectId }: Deed): unknown[] => [
  projectId === undefined ? (caller?.projectId ?? null) : projectId,
  caller?.keyId ?? null,
  caller?.memberId ?? null,
  action,
  target,
  JSON.stringify(detail ?? {}),
  caller?.address ?? null,
  caller?.requestId ?? null,
];
