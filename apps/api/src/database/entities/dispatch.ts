import { Column, Entity, Index, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm';
import { Big, Float, Int, Json, Now, Text, Time, optional } from '../columns.js';

/** A token on its way to the dispatch queue. Written in the transaction that makes the job wait. */
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

/** Slot time that a project's ended attempts had of a pool, as it counts at `at`: it halves with each hour (next-job). */
@Entity('pool_use')
export class PoolUse {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'pool_use_pk' }) pool!: string;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'pool_use_pk' }) project_id!: string;
  @Float() seconds!: number;
  @Time() at!: Date;
}

/** A worker, known by the instance id that it makes at every start, and after a restart by its key. */
@Entity('worker')
@Index('worker_instance', ['instance_id'], { unique: true })
@Index('worker_session', ['session_id'], { unique: true })
@Index('worker_key', ['key_hash'], { unique: true })
export class Worker {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'worker_pk' }) id!: string;
  @Text() instance_id!: string;
  /** The token it joined with; revoking that ends its session. */
  @Text(optional) join_token_id!: string | null;
  /** What its calls beside the stream carry: new at every Hello, kept as a hash. */
  @Text(optional) session_id!: string | null;
  @Text(optional) session_hash!: string | null;
  @Text(optional) key_hash!: string | null;
  @Text() name!: string;
  @Text() pool!: string;
  @Text() state!: 'online' | 'draining' | 'offline';
  @Int() slots!: number;
  @Int({ default: 0 }) free_slots!: number;
  /** Answers that it makes at once, and those it could begin now, as it says; null: it does not say. */
  @Int(optional) max_chats!: number | null;
  @Int(optional) free_chats!: number | null;
  /** The schema version (contracts) of its build or of the API process that its stream ends at, whichever is lower. */
  @Int({ default: 1 }) schema_version!: number;
  @Json() devices!: string[];
  @Big() memory_bytes!: number;
  @Big(optional) rss_bytes!: number | null;
  @Json({ default: () => "'[]'" }) resident_bases!: string[];
  /** The API process that holds its stream. */
  @Text(optional) gateway_id!: string | null;
  /** Nothing new is started on it. */
  @Column({ type: 'boolean', default: false }) cordoned!: boolean;
  /** Where Graft did it by itself (lifecycle/lease/lemon-workers). */
  @Text(optional) cordon_reason!: string | null;
  /** What died on it before is forgiven. */
  @Time(optional) uncordoned_at!: Date | null;
  /** The process, by its instance id, that is to hand back what it runs and end; the next one works again. */
  @Text(optional) drain_instance!: string | null;
  @Text() libtorch!: string;
  @Text() trainer_build!: string;
  @Now() connected_at!: Date;
  @Now() last_seen_at!: Date;
}

/** What a pool was like at the beginning of a minute. */
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

/** An API process that workers' streams end at. */
@Entity('gateway')
export class Gateway {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'gateway_pk' }) id!: string;
  /** `host:port` that the other API processes reach it at. */
  @Text() address!: string;
  /** The one (PEM) that they must find there, and no other; null: no TLS. */
  @Text(optional) certificate!: string | null;
  @Now() started_at!: Date;
  @Now() last_seen_at!: Date;
}

/** A chat's answer while it is made, or while it waits for a worker. Whoever asked renews it; else it is over. */
@Entity('answer')
@Index('answer_worker', ['worker_id'])
export class Answer {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'answer_pk' }) id!: string;
  @Text() project_id!: string;
  @Text() base_id!: string;
  /** Null: it waits. */
  @Text(optional) worker_id!: string | null;
  /** The API process that the client is connected to. */
  @Text() gateway_id!: string;
  /** That of the API process that the client is connected to (contracts' SCHEMA_VERSION). */
  @Int({ default: 1 }) schema_version!: number;
  /** SHA-256s of what the worker may fetch for it. */
  @Json() blobs!: string[];
  @Now() created_at!: Date;
  @Time() until!: Date;
}

/** When a project's last answer began, and when its next may, in turns of all projects (chat/answers/answer-rows). */
@Entity('chat_turn')
export class ChatTurn {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'chat_turn_pk' }) project_id!: string;
  @Float() start!: number;
  @Float() finish!: number;
}

/** What a worker reported of an attempt and no table could take; it ended the attempt. */
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
  /** As JSON, cut where it is long. */
  @Text() events!: string;
  @Now() created_at!: Date;
}
