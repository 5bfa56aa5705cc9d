import type { WorkerObject } from '@graft/contracts';
import { Column, Entity, Index, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm';
import { Big, Float, Int, Json, Now, Text, Time, optional } from '../columns.js';

/** A token to be added to the dispatch queue. It is written in the transaction that queues the job. */
@Entity('outbox')
@Index('outbox_due', ['sent_at', 'not_before'])
export class Outbox {
  @PrimaryGeneratedColumn('identity', { type: 'int', primaryKeyConstraintName: 'outbox_pk' })
  id!: number;
  @Text() job_id!: string;
  @Int() attempt!: number;
  @Text() pool!: string;
  @Now() not_before!: Date;
  @Time(optional) sent_at!: Date | null;
  @Now() created_at!: Date;
}

/**
 * Slot time of a project's ended attempts in a pool, as of `at`. It decays with a half-life of one hour (next-job).
 */
@Entity('pool_use')
export class PoolUse {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'pool_use_pk' }) pool!: string;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'pool_use_pk' }) project_id!: string;
  @Float() seconds!: number;
  @Time() at!: Date;
}

/** A worker, identified by the instance id that it generates at every start, and after a restart by its key. */
@Entity('worker')
@Index('worker_instance', ['instance_id'], { unique: true })
@Index('worker_session', ['session_id'], { unique: true })
@Index('worker_key', ['key_hash'], { unique: true })
export class Worker {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'worker_pk' }) id!: string;
  @Text() instance_id!: string;
  /** Token that the worker joined with. Revoking it ends the session. */
  @Text(optional) join_token_id!: string | null;
  /** Session of the calls outside of the stream. It changes with every Hello; its secret is stored as a hash. */
  @Text(optional) session_id!: string | null;
  @Text(optional) session_hash!: string | null;
  @Text(optional) key_hash!: string | null;
  @Text() name!: string;
  @Text() pool!: string;
  @Text() state!: 'online' | 'draining' | 'offline';
  @Int() slots!: number;
  @Int({ default: 0 }) free_slots!: number;
  /**
   * Maximum number of concurrent answers, and how many more the worker could start now, as it reports; `null` if it
   * does not.
   */
  @Int(optional) max_chats!: number | null;
  @Int(optional) free_chats!: number | null;
  /**
   * Schema version (contracts) of the worker's build or of the API process that it is connected to, whichever is
   * lower.
   */
  @Int({ default: 1 }) schema_version!: number;
  @Json() devices!: string[];
  @Big() memory_bytes!: number;
  @Big(optional) rss_bytes!: number | null;
  @Json({ default: () => "'[]'" }) resident_bases!: string[];
  /** API process that the worker is connected to. */
  @Text(optional) gateway_id!: string | null;
  /** Whether the worker is cordoned: no new work is started on it. */
  @Column({ type: 'boolean', default: false }) cordoned!: boolean;
  /** Reason, if Graft cordoned the worker itself (lifecycle/lease/lemon-workers). */
  @Text(optional) cordon_reason!: string | null;
  /** Time of the last uncordon. Earlier failures on the worker no longer count. */
  @Time(optional) uncordoned_at!: Date | null;
  /** Instance id of the process that should drain and exit. The next process of the worker accepts work again. */
  @Text(optional) drain_instance!: string | null;
  @Text() libtorch!: string;
  /** Speed that the worker measured at its start. */
  @Json(optional) speed!: WorkerObject['speed'];
  @Text() trainer_build!: string;
  @Now() connected_at!: Date;
  @Now() last_seen_at!: Date;
}

/** Load of a pool at the start of a minute. */
@Entity('pool_sample')
@Index('pool_sample_at', ['at'])
export class PoolSample {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'pool_sample_pk' }) pool!: string;
  @PrimaryColumn('timestamptz', { primaryKeyConstraintName: 'pool_sample_pk' }) at!: Date;
  @Int() queued!: number;
  @Int() running!: number;
  @Int() slots!: number;
  @Int() free_slots!: number;
}

/** An API process that workers connect to. */
@Entity('gateway')
export class Gateway {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'gateway_pk' }) id!: string;
  /** Address (`host:port`) at which other API processes reach it. */
  @Text() address!: string;
  /** Certificate (PEM) that other processes must accept exclusively for it; `null` without TLS. */
  @Text(optional) certificate!: string | null;
  @Now() started_at!: Date;
  @Now() last_seen_at!: Date;
}

/** An answer that is queued or being generated. Its API process renews it; otherwise it expires. */
@Entity('answer')
@Index('answer_worker', ['worker_id'])
export class Answer {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'answer_pk' }) id!: string;
  @Text() project_id!: string;
  @Text() base_id!: string;
  /** `null` while the answer is queued. */
  @Text(optional) worker_id!: string | null;
  /** API process that the client is connected to. */
  @Text() gateway_id!: string;
  /** Schema version of that API process (SCHEMA_VERSION of the contracts). */
  @Int({ default: 1 }) schema_version!: number;
  /** SHA-256s of the blobs that the worker may read for it. */
  @Json() blobs!: string[];
  @Now() created_at!: Date;
  @Time() until!: Date;
}

/** Virtual start and finish of a project's last answer in fair queueing (chat/answers/answer-rows). */
@Entity('chat_turn')
export class ChatTurn {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'chat_turn_pk' }) project_id!: string;
  @Float() start!: number;
  @Float() finish!: number;
}

/** A worker's events of an attempt that could not be stored. They ended the attempt. */
@Entity('dead_letter')
export class DeadLetter {
  @PrimaryGeneratedColumn('identity', {
    type: 'bigint',
    primaryKeyConstraintName: 'dead_letter_pk',
  })
  id!: string;
  @Text() worker_id!: string;
  @Text() job_id!: string;
  @Int() attempt!: number;
  @Text() error!: string;
  /** Events as JSON, truncated if long. */
  @Text() events!: string;
  @Now() created_at!: Date;
}
