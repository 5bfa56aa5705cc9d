import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Answers in progress and those that wait for a worker; and what streams and logs are read by. */
export class Answers1764850000000 implements MigrationInterface {
  readonly name = 'Answers1764850000000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of UP) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await runner.query(statement);
  }
}

const UP = [
  `CREATE TABLE "answer" ("id" text NOT NULL,
    "project_id" text NOT NULL,
    "base_id" text NOT NULL,
    "worker_id" text,
    "gateway_id" text NOT NULL,
    "blobs" jsonb NOT NULL,
    "created_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    "until" TIMESTAMP WITH TIME ZONE NOT NULL, CONSTRAINT "answer_pk" PRIMARY KEY ("id"))`,
  `CREATE INDEX "answer_worker" ON "answer" ("worker_id")`,
  `ALTER TABLE "worker" ADD "max_chats" integer`,
  `ALTER TABLE "worker" ADD "free_chats" integer`,
  `CREATE INDEX "job_changed" ON "job" ("project_id", "updated_at")`,
  `CREATE INDEX "event_log" ON "event" ("job_id", "number") WHERE type = 'log'`,
];

const DOWN = [
  `DROP INDEX "event_log"`,
  `DROP INDEX "job_changed"`,
  `ALTER TABLE "worker" DROP COLUMN "free_chats"`,
  `ALTER TABLE "worker" DROP COLUMN "max_chats"`,
  `DROP TABLE "answer"`,
];
