import type { ResponseItem, ResponseObject } from '@graft/contracts';
import { Entity, Index, PrimaryColumn } from 'typeorm';
import { Big, Json, Now, Text } from '../columns.js';

/** A response that was requested with `store`, with the items that it answers. */
@Entity('response')
@Index('response_project', ['project_id'])
@Index('response_created', ['created_at'])
export class StoredResponse {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'response_pk' }) id!: string;
  @Text() project_id!: string;
  @Json() response!: ResponseObject;
  /** The conversation before the response: items of the previous responses, then its own input. */
  @Json() input!: readonly ResponseItem[];
  /** Bytes of the two columns, maintained by a trigger. */
  @Big({ default: 0 }) bytes!: number;
  @Now() created_at!: Date;
}
