import type { ProjectLimits, Role } from '@graft/contracts';
import { Column, Entity, Index, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm';
import { Big, Float, Int, Json, Now, Text, Time, optional } from '../columns.js';

/** SQL: of a project whose deletion was asked for and can no longer be taken back. */
export const IS_DUE = `deletes_at <= clock_timestamp()`;

@Entity('project')
export class Project {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'project_pk' }) id!: string;
  @Text() name!: string;
  @Now() created_at!: Date;
  @Time(optional) archived_at!: Date | null;
  /** When its deletion was asked for. The request also archives it, unless it was archived before. */
  @Time(optional) deleted_at!: Date | null;
  /** From then on its rows are deleted; until then it can be restored. */
  @Time(optional) deletes_at!: Date | null;
  /** Its share of a pool's slots beside other projects' that wait: twice the weight, twice the share. */
  @Int({ default: 1 }) weight!: number;
  @Json({ default: () => "'{}'" }) limits!: ProjectLimits;
}

/** Tokens of a day in UTC, trained and generated: the sum of its parts (lifecycle/usage). */
@Entity('usage')
export class Usage {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'usage_pk' }) project_id!: string;
  @PrimaryColumn('date', { primaryKeyConstraintName: 'usage_pk' }) day!: string;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'usage_pk' }) part!: number;
  @Big() tokens!: number;
}

/** Whose keys act in a project, and what they may do at most. */
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

/** Workers that jobs name together. */
@Entity('pool')
export class Pool {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'pool_pk' }) name!: string;
  /** Every project may use it; else those that it is granted to. */
  @Column({ type: 'boolean', default: true }) open!: boolean;
  /** Nothing new is started on its workers. */
  @Column({ type: 'boolean', default: false }) cordoned!: boolean;
  @Now() created_at!: Date;
}

@Entity('pool_grant')
export class PoolGrant {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'pool_grant_pk' }) pool!: string;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'pool_grant_pk' }) project_id!: string;
  @Now() created_at!: Date;
}

/** Who did what, written in the transaction that did it. */
@Entity('audit')
@Index('audit_project', ['project_id', 'id'])
@Index('audit_once', ['request_id', 'action', 'target'], { unique: true })
export class Audit {
  @PrimaryGeneratedColumn('identity', { type: 'bigint', primaryKeyConstraintName: 'audit_pk' })
  id!: string;
  /** Null: of the installation. */
  @Text(optional) project_id!: string | null;
  /** Null: a command on the server's machine, or the server itself. */
  @Text(optional) key_id!: string | null;
  @Text(optional) member_id!: string | null;
  /** "job.cancelled", "api_key.created", … */
  @Text() action!: string;
  /** Id of what it was done to. */
  @Text() target!: string;
  @Json({ default: () => "'{}'" }) detail!: Record<string, unknown>;
  @Text(optional) address!: string | null;
  @Text(optional) request_id!: string | null;
  @Now() created_at!: Date;
}

/** Only the SHA-256 of a key is kept: its secret has 190 bits, so nothing slower is needed. */
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
  /** The only pool it opens; null opens all. */
  @Text(optional) pool!: string | null;
  @Now() created_at!: Date;
  @Time(optional) expires_at!: Date | null;
  @Time(optional) revoked_at!: Date | null;
}

/** One row for each accepted create: explicit Idempotency-Key, or the body's hash for SDK retries. */
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

/** What a key, or a project by its id, may still send: limits/rate-limits. */
@Entity('bucket')
export class Bucket {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'bucket_pk' }) key_id!: string;
  @Float() tokens!: number;
  /** Whether the last request got one. */
  @Column({ type: 'boolean' }) allowed!: boolean;
  @Time() at!: Date;
}
