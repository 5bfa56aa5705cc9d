import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Which job is given next is decided here, not by the queue: what that needs, and what the queue needed no more. */
export class FairOrder1764830000000 implements MigrationInterface {
  readonly name = 'FairOrder1764830000000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of UP) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await runner.query(statement);
  }
}

const UP = [
  `CREATE TABLE "pool_use" ("pool" text NOT NULL,
    "project_id" text NOT NULL,
    "seconds" double precision NOT NULL,
    "at" TIMESTAMP WITH TIME ZONE NOT NULL, CONSTRAINT "pool_use_pk" PRIMARY KEY ("pool", "project_id"))`,
  `ALTER TABLE "job" ADD "passed_over" integer NOT NULL DEFAULT '0'`,
  `CREATE INDEX "job_waiting" ON "job" ("pool", "project_id", "priority", "created_at", "id") WHERE state = 'queued' AND desired_state = 'run'`,
  `CREATE INDEX "job_running" ON "job" ("project_id", "pool") WHERE state = 'running'`,
  `ALTER TABLE "job" DROP COLUMN "reissued_at"`,
  `ALTER TABLE "outbox" DROP COLUMN "priority"`,
];

const DOWN = [
  `ALTER TABLE "outbox" ADD "priority" integer NOT NULL DEFAULT '100'`,
  `ALTER TABLE "job" ADD "reissued_at" TIMESTAMP WITH TIME ZONE`,
  `DROP INDEX "job_running"`,
  `DROP INDEX "job_waiting"`,
  `ALTER TABLE "job" DROP COLUMN "passed_over"`,
  `DROP TABLE "pool_use"`,
];
