import {
  DomainError,
  INTEGRATION_TYPES,
  parseBody,
  type Deleted,
  type IntegrationObject,
  type IntegrationType,
  type Page,
} from '@graft/contracts';
import { Injectable } from '@nestjs/common';
import { requireActive } from '../auth/active-project.js';
import { Audit } from '../auth/audit.js';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import type { Integration } from '../database/entities/integrations.js';
import { unix, unixOrNull } from '../ids.js';
import { Outbound } from '../outbound/outbound.js';
import { SET_INTEGRATION } from './integration-body.js';

/** Trackers of projects: one of each type. */
@Injectable()
export class Integrations {
  constructor(
    private readonly database: Database,
    private readonly outbound: Outbound,
    private readonly audit: Audit,
  ) {}

  /**
   * Replaces the tracker and ends its claim, so what a process sends meanwhile is no longer recorded. Runs
   * that were given up are retried.
   */
  async set(caller: Principal, type: string, body: unknown): Promise<IntegrationObject> {
    const known = typeOf(type);
    const requested: Settings = parseBody(SET_INTEGRATION[known], body);
    const { url, api_key: secret = null, username = null, project, entity = null } = requested;
    if (/[?#]/.test(url))
      throw new DomainError('invalid_value', 'url: expected an address without ? and #', 'url');
    await this.outbound.check(url, 'url');
    await this.database.transaction(async (manager) => {
      await requireActive(this.database, manager, caller.projectId);
      const [before] = await this.database.query<Pick<Integration, 'url'>>(
        'SELECT url FROM integration WHERE project_id = $1 AND type = $2 FOR UPDATE',
        [caller.projectId, known],
        manager,
      );
      await this.database.query(
        `INSERT INTO integration (project_id, type, url, username, secret, project, entity, every_job)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (project_id, type) DO UPDATE SET url = $3, username = $4, secret = $5, project = $6, entity = $7,
           every_job = $8, owner = NULL, owner_until = NULL, failures = 0, failing_since = NULL, last_error = NULL, next_at = clock_timestamp()`,
        [caller.projectId, known, url, username, secret, project, entity, requested.every_job],
        manager,
      );
      // This server does not know the runs that another one stored.
      const anew = before?.url !== url ? ', remote = NULL, url = NULL, cursor = 0' : '';
      await this.database.query(
        `UPDATE integration_run SET status = 'open', failures = 0, error = NULL, next_at = clock_timestamp() ${anew}
         WHERE project_id = $1 AND type = $2 AND status <> 'done'`,
        [caller.projectId, known],
        manager,
      );
      const detail = { url, project, every_job: requested.every_job };
      await this.audit.write(manager, { caller, action: 'integration.set', target: known, detail });
    });
    return this.get(caller, known);
  }

  async list(caller: Principal): Promise<Page<IntegrationObject>> {
    const rows = await this.database.query<Integration>(
      'SELECT * FROM integration WHERE project_id = $1 ORDER BY type',
      [caller.projectId],
    );
    return { object: 'list', data: rows.map(integrationObject), has_more: false };
  }

  async get(caller: Principal, type: string): Promise<IntegrationObject> {
    const [row] = await this.database.query<Integration>(
      'SELECT * FROM integration WHERE project_id = $1 AND type = $2',
      [caller.projectId, typeOf(type)],
    );
    if (!row) throw notSetUp(type);
    return integrationObject(row);
  }

  /** Deletes a tracker. Unsent data of its runs is not sent. */
  async remove(caller: Principal, type: string): Promise<Deleted<'integration'>> {
    const { id } = await this.get(caller, type);
    await this.database.transaction(async (manager) => {
      await this.database.query(
        'DELETE FROM integration WHERE project_id = $1 AND type = $2',
        [caller.projectId, id],
        manager,
      );
      await this.database.query(
        `UPDATE integration_run SET status = 'failed', error = 'The integration was deleted'
         WHERE project_id = $1 AND type = $2 AND status = 'open'`,
        [caller.projectId, id],
        manager,
      );
      await this.audit.write(manager, { caller, action: 'integration.deleted', target: id });
    });
    return { id, object: 'integration', deleted: true };
  }
}

interface Settings {
  readonly url: string;
  readonly api_key?: string | undefined;
  readonly username?: string | undefined;
  readonly project: string;
  readonly entity?: string | undefined;
  readonly every_job: boolean;
}

function typeOf(type: string): IntegrationType {
  const known = INTEGRATION_TYPES.find((one) => one === type);
  if (!known)
    throw new DomainError(
      'not_found',
      `no such integration: ${type.slice(0, 60)}; expected ${INTEGRATION_TYPES.join(' or ')}`,
      'type',
    );
  return known;
}

const notSetUp = (type: string): DomainError =>
  new DomainError('not_found', `the project has not set up ${type}`, 'type');

const integrationObject = (row: Integration): IntegrationObject => ({
  object: 'integration',
  id: row.type,
  type: row.type,
  url: row.url,
  username: row.username,
  project: row.project,
  entity: row.entity,
  every_job: row.every_job,
  failing_since: unixOrNull(row.failing_since),
  last_error: row.last_error,
  last_sent_at: unixOrNull(row.sent_at),
  created_at: unix(row.created_at),
});
