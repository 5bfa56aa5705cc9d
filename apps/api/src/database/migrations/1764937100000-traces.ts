import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What a job's trace begins with, and which traces a collector has. */
export class Traces1764937100000 implements MigrationInterface {
  readonly name = 'Traces1764937100000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of UP) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP TABLE "trace_export"`);
    for (const column of ['tracestate', 'traceparent', 'received_at'])
      await runner.query(`ALTER TABLE "job" DROP COLUMN "${column}"`);
  }
}

const UP = [
  `ALTER TABLE "job" ADD "received_at" TIMESTAMP WITH TIME ZONE`,
  `ALTER TABLE "job" ADD "traceparent" text`,
  `ALTER TABLE "job" ADD "tracestate" text`,
  `CREATE TABLE "trace_export" ("job_id" text NOT NULL,
    "status" text NOT NULL DEFAULT 'open',
    "cursor" integer NOT NULL DEFAULT 0,
    "error" text,
    "owner" text,
    "owner_until" TIMESTAMP WITH TIME ZONE,
    "created_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(), CONSTRAINT "trace_export_pk" PRIMARY KEY ("job_id"))`,
  `CREATE INDEX "trace_export_open" ON "trace_export" ("created_at") WHERE status = 'open'`,
];
