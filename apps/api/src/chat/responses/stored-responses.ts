import { Injectable } from '@nestjs/common';
import {
  DomainError,
  type Deleted,
  type Page,
  type ResponseItem,
  type ResponseObject,
} from '@graft/contracts';
import { Audit } from '../../auth/audit.js';
import type { Principal } from '../../auth/principal.js';
import { StorageQuota } from '../../blobs/storage-quota.js';
import { Database } from '../../database/database.js';
import { StoredResponse } from '../../database/entities/responses.js';
import { jsonbText } from '../../database/jsonb.js';
import { oneOf, pageInMemory, pageQuery } from '../../http/parse.js';
import { BackgroundResponses } from './background-responses.js';

type Query = Record<string, unknown>;

/**
 * Responses that were requested with `store`. Each has its whole conversation, so that it can be continued after the
 * previous responses have expired or were deleted.
 */
@Injectable()
export class StoredResponses {
  constructor(
    private readonly database: Database,
    private readonly audit: Audit,
    private readonly quota: StorageQuota,
    private readonly background: BackgroundResponses,
  ) {}

  /**
   * Checks that the project has space for a conversation. The response counts after it has ended.
   * @throws DomainError insufficient_quota
   */
  async checkSpace({ projectId }: Principal, items: readonly ResponseItem[]): Promise<void> {
    await this.quota.guard(projectId, Buffer.byteLength(JSON.stringify(items)));
  }

  /** Stores a response that has ended. */
  async add(
    { projectId }: Principal,
    response: ResponseObject,
    input: readonly ResponseItem[],
  ): Promise<void> {
    await this.database.query(
      `INSERT INTO response (id, project_id, response, input) VALUES ($1, $2, $3::jsonb, $4::jsonb)
       ON CONFLICT DO NOTHING`,
      [response.id, projectId, jsonbText(response), jsonbText(input)],
    );
  }

  async get(caller: Principal, id: string, query: Query): Promise<ResponseObject> {
    if (oneOf(query, 'stream', ['false', 'true']) === 'true')
      throw new DomainError(
        'unsupported',
        'stream is not supported here; leave it out: the response is returned as it is now',
        'stream',
      );
    return (await this.row(caller, id)).response;
  }

  /** Returns the conversation up to and including a response. */
  async conversation(caller: Principal, id: string): Promise<readonly ResponseItem[]> {
    const { input, response, request } = await this.row(caller, id, 'previous_response_id');
    if (request !== null)
      throw new DomainError(
        'invalid_value',
        `previous_response_id: ${id} is ${response.status}; wait until it has ended`,
        'previous_response_id',
      );
    return [...input, ...response.output];
  }

  async inputItems(caller: Principal, id: string, query: Query): Promise<Page<ResponseItem>> {
    const page = pageQuery(query, 20, 100);
    const order = oneOf(query, 'order', ['desc', 'asc']);
    const { input } = await this.row(caller, id);
    return pageInMemory(order === 'asc' ? input : input.toReversed(), page, (item) => item);
  }

  /**
   * Cancels a background response. One that has ended is returned as it is.
   * @throws DomainError if the response is not a background response
   */
  async cancel(caller: Principal, id: string): Promise<ResponseObject> {
    const { response } = await this.row(caller, id);
    if (!response.background)
      throw new DomainError(
        'invalid_value',
        'Cannot cancel a synchronous response: only responses with background: true can be cancelled',
        'response_id',
      );
    await this.database.transaction(async (manager) => {
      const changed = await this.database.query(
        `UPDATE response SET response = jsonb_set(response, '{status}', '"cancelled"'), request = NULL,
           owner = NULL, owner_until = NULL WHERE id = $1 AND request IS NOT NULL RETURNING id`,
        [id],
        manager,
      );
      if (changed.length > 0)
        await this.audit.write(manager, { caller, action: 'response.cancelled', target: id });
    });
    this.background.stop(id);
    return (await this.row(caller, id)).response;
  }

  async remove(caller: Principal, id: string): Promise<Deleted<'response'>> {
    await this.row(caller, id);
    await this.database.transaction(async (manager) => {
      await this.database.query('DELETE FROM response WHERE id = $1', [id], manager);
      await this.audit.write(manager, { caller, action: 'response.deleted', target: id });
    });
    this.background.stop(id);
    return { id, object: 'response', deleted: true };
  }

  /** Returns the row of a response. Responses of other projects are not found. */
  private async row(
    { projectId }: Principal,
    id: string,
    param = 'response_id',
  ): Promise<StoredResponse> {
    const found = await this.database.manager
      .getRepository(StoredResponse)
      .findOneBy({ id, project_id: projectId });
    if (found) return found;
    throw new DomainError('not_found', `No such Response: ${id.slice(0, 60)}`, param);
  }
}
