import type { ProjectLimits, Role } from '@graft/contracts';
import { Column, Entity, Index, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm';
import { Big, Float, Int, Json, Now, Text, Time, optional } from '../columns.js';

/** SQL condition that a project's deletion can no longer be undone. */
export const IS_DUE = `deletes_at <= clock_timestamp()`;

@Entity('project')
export class Project {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'project_pk' }) id!: string;
  @Text() name!: string;
  @Now() created_at!: Date;
  @Time(optional) archived_at!: Date | null;
  /**
   * Time at which the deletion was requested. The request also archives the project, unless it was archived before.
   */
  @Time(optional) deleted_at!: Date | null;
  /** Time from which its rows are deleted; until then it can be restored. */
  @Time(optional) deletes_at!: Date | null;
  /**
   * Weight for sharing a pool's slots with other projects that have queued jobs: twice the weight, twice the share.
   */
  @Int({ default: 1 }) weight!: number;
  @Json({ default: () => "'{}'" }) limits!: ProjectLimits;
}

/** Tokens of a day in UTC, trained and generated. The total is the sum of the parts (lifecycle/usage). */
@Entity('usage')
export class Usage {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'usage_pk' }) project_id!: string;
  @PrimaryColumn('date', { primaryKeyConstraintName: 'usage_pk' }) day!: string;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'usage_pk' }) part!: number;
  @Big() tokens!: number;
}

/** Kinds of usage: training, and requests to models by their endpoint. */
export const USAGE_KINDS = [
  'training',
  'completions',
  'embeddings',
  'classifications',
  'transcriptions',
] as const;
export type UsageKind = (typeof USAGE_KINDS)[number];

/** Usage of a project in an hour, by model (for training, the base). Parts as in `usage`. */
@Entity('usage_hour')
export class UsageHour {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'usage_hour_pk' }) project_id!: string;
  @PrimaryColumn('timestamptz', { primaryKeyConstraintName: 'usage_hour_pk' }) hour!: Date;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'usage_hour_pk' }) kind!: UsageKind;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'usage_hour_pk' }) model!: string;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'usage_hour_pk' }) part!: number;
  /** Requests to models, or trained steps. */
  @Big({ default: 0 }) requests!: number;
  @Big({ default: 0 }) input_tokens!: number;
  @Big({ default: 0 }) output_tokens!: number;
  /** Training time. */
  @Float({ default: 0 }) seconds!: number;
}

/** Last number of default names with a stem in a project, such as 2 after `tickets-lora-2` (lifecycle/default-names). */
@Entity('name_counter')
export class NameCounter {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'name_counter_pk' }) project_id!: string;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'name_counter_pk' }) stem!: string;
  @Int() last!: number;
}

/** A member of a project, whose role limits what its keys may do. */
@Entity('member')
@Index('member_project', ['project_id'])
export class Member {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'member_pk' }) id!: string;
  @Text() project_id!: string;
  @Text() name!: string;
  @Text() role!: Role;
  @Now() created_at!: Date;
  @Time(optional) removed_at!: Date | null;
}

/** A group of workers that jobs select by its name. */
@Entity('pool')
export class Pool {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'pool_pk' }) name!: string;
  /** Whether every project may use the pool; otherwise only projects with a grant. */
  @Column({ type: 'boolean', default: true }) open!: boolean;
  /** Whether the pool is cordoned: no new work is started on its workers. */
  @Column({ type: 'boolean', default: false }) cordoned!: boolean;
  @Now() created_at!: Date;
}

@Entity('pool_grant')
export class PoolGrant {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'pool_grant_pk' }) pool!: string;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'pool_grant_pk' }) project_id!: string;
  @Now() created_at!: Date;
}

/** Audit entry, written in the transaction of the action. */
@Entity('audit')
@Index('audit_project', ['project_id', 'id'])
@Index('audit_once', ['request_id', 'action', 'target'], { unique: true })
export class Audit {
  @PrimaryGeneratedColumn('identity', { type: 'bigint', primaryKeyConstraintName: 'audit_pk' })
  id!: string;
  /** `null` for actions on the installation. */
  @Text(optional) project_id!: string | null;
  /** `null` for the server itself or a command on its machine. */
  @Text(optional) key_id!: string | null;
  @Text(optional) member_id!: string | null;
  /** Action, such as "job.cancelled" or "api_key.created". */
  @Text() action!: string;
  /** Id of the target. */
  @Text() target!: string;
  @Json({ default: () => "'{}'" }) detail!: Record<string, unknown>;
  @Text(optional) address!: string | null;
  @Text(optional) request_id!: string | null;
  @Now() created_at!: Date;
}

/** An API key. Only its SHA-256 is stored: the secret has 190 bits, so a slower hash is not needed. */
@Entity('api_key')
@Index('api_key_project', ['project_id'])
export class ApiKey {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'api_key_pk' }) id!: string;
  @Text() project_id!: string;
  @Text() name!: string;
  @Text(optional) member_id!: string | null;
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
  /** The only pool that workers may join with it; `null` allows all. */
  @Text(optional) pool!: string | null;
  @Now() created_at!: Date;
  @Time(optional) expires_at!: Date | null;
  @Time(optional) revoked_at!: Date | null;
}

/** An accepted create request, by its Idempotency-Key or, for retries by SDKs, the hash of its body. */
@Entity('idempotency')
@Index('idempotency_hash', ['project_id', 'request_hash', 'created_at'])
@Index('idempotency_job', ['job_id'])
export class Idempotency {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'idempotency_pk' }) project_id!: string;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'idempotency_pk' }) key!: string;
  @Text() request_hash!: string;
  @Text() job_id!: string;
  @Now() created_at!: Date;
}

/** Token bucket of a key, or of a project by its id (limits/rate-limits). */
@Entity('bucket')
export class Bucket {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'bucket_pk' }) key_id!: string;
  @Float() tokens!: number;
  /** Whether the last request was allowed. */
  @Column({ type: 'boolean' }) allowed!: boolean;
  @Time() at!: Date;
}
