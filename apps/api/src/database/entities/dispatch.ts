import { Entity, Index, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm';
import { Big, Int, Json, Now, Text, Time, optional } from '../columns.js';

/** A hint that wants to be in the queue. Written in the transaction that makes the job wait. */
@Entity('outbox')
@Index('outbox_due', ['sent_at', 'not_before'])
export class Outbox {
  @PrimaryGeneratedColumn('identity', { type: 'int', primaryKeyConstraintName: 'outbox_pk' })
  id!: number;
  @Text() job_id!: string;
  @Int() epoch!: number;
  @Text() pool!: string;
  @Int() priority!: number;
  @Now() not_before!: Date;
  @Time(optional) sent_at!: Date | null;
  @Now() created_at!: Date;
}

/** A worker process, known by the instance id that it makes at every start. */
@Entity('worker')
@Index('worker_instance', ['instance_id'], { unique: true })
@Index('worker_session', ['session_id'], { unique: true })
export class Worker {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'worker_pk' }) id!: string;
  @Text() instance_id!: string;
  /** The token it joined with; revoking that ends its session. */
  @Text(optional) join_token_id!: string | null;
  /** What its calls beside the stream carry: new at every Hello, kept as a hash. */
  @Text(optional) session_id!: string | null;
  @Text(optional) session_hash!: string | null;
  @Text() name!: string;
  @Text() pool!: string;
  @Text() state!: 'online' | 'draining' | 'offline';
  @Int() slots!: number;
  @Int({ default: 0 }) free_slots!: number;
  @Json() devices!: string[];
  @Big() memory_bytes!: number;
  @Big(optional) rss_bytes!: number | null;
  @Json({ default: () => "'[]'" }) resident_bases!: string[];
  @Text() libtorch!: string;
  @Text() trainer_build!: string;
  @Now() connected_at!: Date;
  @Now() last_seen_at!: Date;
}
