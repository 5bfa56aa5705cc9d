import { randomBytes } from 'node:crypto';
import {
  DomainError,
  parseBody,
  WEBHOOK_EVENT_TYPES,
  WEBHOOK_TEST,
  type Deleted,
  type Page,
  type WebhookDeliveryObject,
  type WebhookEndpointObject,
  type WebhookTestObject,
  type WebhookTestResult,
} from '@graft/contracts';
import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { requireActive } from '../auth/active-project.js';
import { Audit } from '../auth/audit.js';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import type { WebhookDelivery, WebhookEndpoint } from '../database/entities/webhooks.js';
import { pageOf, pageQuery } from '../http/parse.js';
import { newId } from '../ids.js';
import { Outbound } from '../outbound/outbound.js';
import { WakeUps } from '../wake/wake-ups.js';
import { CreateEndpoint, RotateSecret, TestEndpoint, UpdateEndpoint } from './endpoint-body.js';
import { DUE } from './webhook-events.js';
import { deliveryNumber, deliveryObject, endpointObject } from './webhook-objects.js';
import { WebhookSender, webhookSecret } from './webhook-sender.js';

type Query = Record<string, unknown>;

/** Maximum number of endpoints of a project. */
const MOST_ENDPOINTS = 20;
/** Time for which a replaced secret still signs deliveries. */
const ROTATION = `interval '24 hours'`;

/** Webhook endpoints of a project and their deliveries. */
@Injectable()
export class WebhookEndpoints {
  constructor(
    private readonly database: Database,
    private readonly outbound: Outbound,
    private readonly audit: Audit,
    private readonly wakeUps: WakeUps,
    private readonly sender: WebhookSender,
  ) {}

  /** Creates an endpoint. Only this response contains its secret. */
  async create(caller: Principal, body: unknown): Promise<WebhookEndpointObject> {
    const { name, url, event_types = WEBHOOK_EVENT_TYPES } = parseBody(CreateEndpoint, body);
    await this.outbound.check(url, 'url');
    const id = newId('we_');
    const secret = webhookSecret(randomBytes(32));
    await this.database.transaction(async (manager) => {
      await requireActive(this.database, manager, caller.projectId);
      await this.countOthers(manager, caller.projectId, id);
      await this.database.query(
        `INSERT INTO webhook_endpoint (id, project_id, name, url, event_types, secret)
         VALUES ($1, $2, $3, $4, $5::jsonb, $6) ON CONFLICT DO NOTHING`,
        [id, caller.projectId, name, url, JSON.stringify(event_types), secret],
        manager,
      );
      const detail = { name, url: withoutQuery(url) };
      const action = 'webhook_endpoint.created';
      await this.audit.write(manager, { caller, action, target: id, detail });
    });
    return { ...(await this.get(caller, id)), signing_secret: secret, secret };
  }

  private async countOthers(manager: EntityManager, projectId: string, id: string): Promise<void> {
    await this.database.query(
      'SELECT pg_advisory_xact_lock(hashtextextended($1, 0))',
      [`webhook endpoints ${projectId}`],
      manager,
    );
    const others = await this.database.query(
      'SELECT 1 FROM webhook_endpoint WHERE project_id = $1 AND id <> $2',
      [projectId, id],
      manager,
    );
    if (others.length >= MOST_ENDPOINTS)
      throw new DomainError(
        'conflict',
        `a project has at most ${MOST_ENDPOINTS} webhook endpoints; delete one first`,
      );
  }

  async list(caller: Principal, query: Query): Promise<Page<WebhookEndpointObject>> {
    const { limit, after } = pageQuery(query, 20, 100);
    if (after) await this.row(caller, after, 'after');
    const rows = await this.database.query<WebhookEndpoint>(
      `SELECT * FROM webhook_endpoint WHERE project_id = $1 AND ($2::text IS NULL OR
         (created_at, id) < (SELECT created_at, id FROM webhook_endpoint WHERE id = $2))
       ORDER BY created_at DESC, id DESC LIMIT $3`,
      [caller.projectId, after, limit + 1],
    );
    return pageOf(rows, limit, endpointObject);
  }

  async get(caller: Principal, id: string): Promise<WebhookEndpointObject> {
    return endpointObject(await this.row(caller, id));
  }

  async update(caller: Principal, id: string, body: unknown): Promise<WebhookEndpointObject> {
    const { name, url, event_types: types, enabled } = parseBody(UpdateEndpoint, body);
    await this.row(caller, id);
    if (url !== undefined) await this.outbound.check(url, 'url');
    await this.database.transaction(async (manager) => {
      const changed = await this.database.query(
        `UPDATE webhook_endpoint SET name = COALESCE($3, name), url = COALESCE($4, url),
           event_types = COALESCE($5::jsonb, event_types),
           disabled_at = CASE WHEN $6 THEN NULL WHEN NOT $6 THEN COALESCE(disabled_at, clock_timestamp()) ELSE disabled_at END,
           disabled_reason = CASE WHEN $6 IS NULL THEN disabled_reason END,
           failing_since = CASE WHEN $6 THEN NULL ELSE failing_since END,
           updated_at = CASE WHEN (COALESCE($3, name), COALESCE($4, url), COALESCE($5::jsonb, event_types),
               COALESCE($6, disabled_at IS NULL)) = (name, url, event_types, disabled_at IS NULL)
             THEN updated_at ELSE clock_timestamp() END
         WHERE id = $1 AND project_id = $2 RETURNING id`,
        [
          id,
          caller.projectId,
          name ?? null,
          url ?? null,
          types === undefined ? null : JSON.stringify(types),
          enabled ?? null,
        ],
        manager,
      );
      if (changed.length === 0) throw noEndpoint(id);
      const detail = {
        ...(name && { name }),
        ...(url && { url: withoutQuery(url) }),
        ...(types && { event_types: types }),
        ...(enabled === undefined ? {} : { enabled }),
      };
      const action = 'webhook_endpoint.updated';
      await this.audit.write(manager, { caller, action, target: id, detail });
    });
    if (enabled) this.wakeUps.announce(DUE);
    return this.get(caller, id);
  }

  /** Deletes an endpoint with its deliveries. Pending deliveries are not sent. */
  async remove(caller: Principal, id: string): Promise<Deleted<'webhook_endpoint.deleted'>> {
    await this.row(caller, id);
    await this.database.transaction(async (manager) => {
      await this.database.query('DELETE FROM webhook_endpoint WHERE id = $1', [id], manager);
      await this.database.query(
        'DELETE FROM webhook_delivery WHERE endpoint_id = $1',
        [id],
        manager,
      );
      await this.audit.write(manager, { caller, action: 'webhook_endpoint.deleted', target: id });
    });
    return { id, object: 'webhook_endpoint.deleted', deleted: true };
  }

  /** Replaces the secret. Only this response contains the new one. On request, both sign for 24 hours. */
  async rotate(caller: Principal, id: string, body: unknown): Promise<WebhookEndpointObject> {
    const { keep_old_secret_active_for_24_hours: isKept } = parseBody(RotateSecret, body);
    await this.row(caller, id);
    const secret = webhookSecret(randomBytes(32));
    await this.database.transaction(async (manager) => {
      await this.database.query(
        `UPDATE webhook_endpoint SET old_secret = CASE WHEN $3 THEN secret END, secret = $2,
           old_secret_until = CASE WHEN $3 THEN clock_timestamp() + ${ROTATION} END,
           updated_at = clock_timestamp() WHERE id = $1 AND secret <> $2`,
        [id, secret, isKept],
        manager,
      );
      const action = 'webhook_endpoint.secret_rotated';
      await this.audit.write(manager, { caller, action, target: id });
    });
    return { ...(await this.get(caller, id)), signing_secret: secret, secret };
  }

  async deliveries(
    caller: Principal,
    id: string,
    query: Query,
  ): Promise<Page<WebhookDeliveryObject>> {
    await this.row(caller, id);
    const { limit, after } = pageQuery(query, 20, 100);
    const number = after === null ? null : deliveryNumber(after);
    if (after !== null && number === null) throw noDelivery(after, 'after');
    const rows = await this.database.query<WebhookDelivery>(
      `SELECT * FROM webhook_delivery WHERE endpoint_id = $1 AND ($2::bigint IS NULL OR number < $2)
       ORDER BY number DESC LIMIT $3`,
      [id, number, limit + 1],
    );
    return pageOf(rows, limit, deliveryObject);
  }

  async delivery(caller: Principal, id: string, delivery: string): Promise<WebhookDeliveryObject> {
    await this.row(caller, id);
    const number = deliveryNumber(delivery);
    const [row] = await this.database.query<WebhookDelivery>(
      'SELECT * FROM webhook_delivery WHERE endpoint_id = $1 AND number = $2',
      [id, number],
    );
    if (!row) throw noDelivery(delivery, 'delivery_id');
    return deliveryObject(row);
  }

  /** Tests the endpoint, whatever event types it subscribes to. */
  test(caller: Principal, id: string, body: unknown): Promise<WebhookTestResult> {
    const { event_type: type } = parseBody(TestEndpoint, body);
    return type ? this.sendSample(caller, id, type) : this.queueTest(caller, id);
  }

  /** Sends a sample once, outside the deliveries: it is neither recorded nor repeated. */
  private async sendSample(
    caller: Principal,
    id: string,
    type: WebhookTestObject['event_type'],
  ): Promise<WebhookTestObject> {
    const { endpoint, now } = await this.database.transaction(async (manager) => {
      await requireActive(this.database, manager, caller.projectId);
      const locked = await this.lockEnabled(manager, caller, id);
      const detail = { event_type: type };
      const action = 'webhook_endpoint.tested';
      await this.audit.write(manager, { caller, action, target: id, detail });
      return locked;
    });
    const { url, secret, old_secret: old, old_secret_until: until } = endpoint;
    const { status_code, error } = await this.sender.send({
      ...{ event_id: newId('evt_'), type, target: id, created_at: now },
      ...{ url, secret, old_secret: until && until > now ? old : null, now },
    });
    if (status_code === null)
      throw new DomainError('invalid_state', `${id} did not respond: ${error}`, 'endpoint_id');
    return {
      object: 'webhook_endpoint.test',
      webhook_endpoint_id: id,
      event_type: type,
      status_code,
      success: true,
    };
  }

  private async queueTest(caller: Principal, id: string): Promise<WebhookDeliveryObject> {
    const event = newId('evt_');
    const number = await this.database.transaction(async (manager) => {
      await this.lockEnabled(manager, caller, id);
      const [known] = await this.database.query<{ number: string }>(
        'SELECT number FROM webhook_delivery WHERE endpoint_id = $1 AND event_id = $2',
        [id, event],
        manager,
      );
      if (known) return known.number;
      const [created] = await this.database.query<{ number: string }>(
        `INSERT INTO webhook_delivery (endpoint_id, event_id, type, target, created_at, next_at)
         VALUES ($1, $2, $3, $1, clock_timestamp(), clock_timestamp()) RETURNING number`,
        [id, event, WEBHOOK_TEST],
        manager,
      );
      await this.audit.write(manager, { caller, action: 'webhook_endpoint.tested', target: id });
      return created!.number;
    });
    this.wakeUps.announce(DUE);
    return this.delivery(caller, id, `whd_${number}`);
  }

  /**
   * Queues a delivery to be sent now, also one that is done or waits for a retry. A delivery older than three
   * days gets only this attempt.
   */
  async retry(caller: Principal, id: string, delivery: string): Promise<WebhookDeliveryObject> {
    const { id: known } = await this.delivery(caller, id, delivery);
    await this.database.transaction(async (manager) => {
      await this.lockEnabled(manager, caller, id);
      await this.database.query(
        `UPDATE webhook_delivery SET status = 'pending', done_at = NULL, next_at = clock_timestamp() WHERE number = $1`,
        [deliveryNumber(known)],
        manager,
      );
      const detail = { delivery: known };
      const action = 'webhook_endpoint.retried';
      await this.audit.write(manager, { caller, action, target: id, detail });
    });
    this.wakeUps.announce(DUE);
    return this.delivery(caller, id, known);
  }

  /** Returns the endpoint, locked, and the time of the database. */
  private async lockEnabled(
    manager: EntityManager,
    caller: Principal,
    id: string,
  ): Promise<{ readonly endpoint: WebhookEndpoint; readonly now: Date }> {
    const [endpoint] = await this.database.query<WebhookEndpoint & { readonly now: Date }>(
      'SELECT *, clock_timestamp() AS now FROM webhook_endpoint WHERE id = $1 AND project_id = $2 FOR SHARE',
      [id, caller.projectId],
      manager,
    );
    if (!endpoint) throw noEndpoint(id);
    if (endpoint.disabled_at)
      throw new DomainError('invalid_state', `${id} is disabled; enable it first`, 'endpoint_id');
    return { endpoint, now: endpoint.now };
  }

  /** @throws DomainError not_found, also if the object belongs to another project */
  private async row(
    caller: Principal,
    id: string,
    param = 'endpoint_id',
  ): Promise<WebhookEndpoint> {
    const [row] = await this.database.query<WebhookEndpoint>(
      'SELECT * FROM webhook_endpoint WHERE id = $1 AND project_id = $2',
      [id, caller.projectId],
    );
    if (!row) throw noEndpoint(id, param);
    return row;
  }
}

/** Removes the query string, which may contain a password. */
const withoutQuery = (url: string): string => url.split('?')[0] ?? '';

const noEndpoint = (id: string, param = 'endpoint_id'): DomainError =>
  new DomainError('not_found', `no such webhook endpoint: ${id.slice(0, 60)}`, param);

const noDelivery = (id: string, param: string): DomainError =>
  new DomainError('not_found', `no such delivery: ${id.slice(0, 60)}`, param);
