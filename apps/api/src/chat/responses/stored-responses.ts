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
        'stream is not supported here; leave it out: the stored response is complete',
        'stream',
      );
    return (await this.row(caller, id)).response;
  }

  /** Returns the conversation up to and including a response. */
  async conversation(caller: Principal, id: string): Promise<readonly ResponseItem[]> {
    const { input, response } = await this.row(caller, id, 'previous_response_id');
    return [...input, ...response.output];
  }

  async inputItems(caller: Principal, id: string, query: Query): Promise<Page<ResponseItem>> {
    const page = pageQuery(query, 20, 100);
    const order = oneOf(query, 'order', ['desc', 'asc']);
    const { input } = await this.row(caller, id);
    return pageInMemory(order === 'asc' ? input : input.toReversed(), page, (item) => item);
  }

  async remove(caller: Principal, id: string): Promise<Deleted<'response'>> {
    await this.row(caller, id);
    await this.database.transaction(async (manager) => {
      await this.database.query('DELETE FROM response WHERE id = $1', [id], manager);
      await this.audit.write(manager, { caller, action: 'response.deleted', target: id });
    });
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
