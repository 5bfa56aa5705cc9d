import { Entity, Index, PrimaryColumn } from 'typeorm';
import { Json, Now, Text, Time, optional } from '../columns.js';

@Entity('project')
export class Project {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'project_pk' }) id!: string;
  @Text() name!: string;
  @Now() created_at!: Date;
}

/** Only the SHA-256 of a key is kept: its secret has 190 bits, so nothing slower is needed. */
@Entity('api_key')
@Index('api_key_project', ['project_id'])
export class ApiKey {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'api_key_pk' }) id!: string;
  @Text() project_id!: string;
  @Text() name!: string;
  @Text() hash!: string;
  @Json() scopes!: string[];
  @Now() created_at!: Date;
  @Time(optional) last_used_at!: Date | null;
  @Time(optional) expires_at!: Date | null;
  @Time(optional) revoked_at!: Date | null;
}

@Entity('join_token')
export class JoinToken {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'join_token_pk' }) id!: string;
  @Text() hash!: string;
  @Text() name!: string;
  /** The only pool it opens; null opens all. */
  @Text(optional) pool!: string | null;
  @Now() created_at!: Date;
  @Time(optional) expires_at!: Date | null;
  @Time(optional) revoked_at!: Date | null;
}

/** One row for each accepted create: explicit Idempotency-Key, or the body's hash for SDK retries. */
@Entity('idempotency')
@Index('idempotency_hash', ['project_id', 'request_hash', 'created_at'])
export class Idempotency {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'idempotency_pk' }) project_id!: string;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'idempotency_pk' }) key!: string;
  @Text() request_hash!: string;
  @Text() job_id!: string;
  @Now() created_at!: Date;
}
