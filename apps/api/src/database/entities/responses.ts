import type { ResponseItem, ResponseObject } from '@graft/contracts';
import { Entity, Index, PrimaryColumn } from 'typeorm';
import { Big, Int, Json, Now, optional, Text, Time } from '../columns.js';

/** A response that was requested with `store`, with the items that it answers. */
@Entity('response')
@Index('response_project', ['project_id'])
@Index('response_created', ['created_at'])
@Index('response_open', ['created_at'], { where: 'request IS NOT NULL' })
export class StoredResponse {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'response_pk' }) id!: string;
  @Text() project_id!: string;
  @Json() response!: ResponseObject;
  /** The conversation before the response: items of the previous responses, then its own input. */
  @Json() input!: readonly ResponseItem[];
  /** Bytes of the columns with JSON, maintained by a trigger. */
  @Big({ default: 0 }) bytes!: number;
  @Now() created_at!: Date;
  /** Key that requested a background response. */
  @Text(optional) key_id!: string | null;
  /** Body of the request for a background response that has not ended, without its input. */
  @Json(optional) request!: object | null;
  /** Process that generates the response, until its claim ends. */
  @Text(optional) owner!: string | null;
  @Time(optional) owner_until!: Date | null;
  /** Earliest time of the next attempt, if the response has to wait. */
  @Time(optional) resume_at!: Date | null;
  /** Number of times that the response was lost while it was generated. */
  @Int({ default: 0 }) losses!: number;
}
