import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Experiment trackers of a project, and each job's run in them. */
export class Integrations1764931000000 implements MigrationInterface {
  readonly name = 'Integrations1764931000000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of UP) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['integration_run', 'integration'])
      await runner.query(`DROP TABLE "${table}"`);
  }
}

const UP = [
  `CREATE TABLE "integration" ("project_id" text NOT NULL,
    "type" text NOT NULL,
    "url" text NOT NULL,
    "username" text,
    "secret" text,
    "project" text NOT NULL,
    "entity" text,
    "every_job" boolean NOT NULL DEFAULT false,
    "failures" integer NOT NULL DEFAULT 0,
    "next_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    "failing_since" TIMESTAMP WITH TIME ZONE,
    "last_error" text,
    "sent_at" TIMESTAMP WITH TIME ZONE,
    "owner" text,
    "owner_until" TIMESTAMP WITH TIME ZONE,
    "created_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(), CONSTRAINT "integration_pk" PRIMARY KEY ("project_id", "type"))`,
  `CREATE TABLE "integration_run" ("job_id" text NOT NULL,
    "type" text NOT NULL,
    "project_id" text NOT NULL,
    "settings" jsonb NOT NULL,
    "status" text NOT NULL DEFAULT 'open',
    "cursor" integer NOT NULL DEFAULT 0,
    "remote" jsonb,
    "url" text,
    "error" text,
    "failures" integer NOT NULL DEFAULT 0,
    "next_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    "sent_at" TIMESTAMP WITH TIME ZONE,
    "created_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(), CONSTRAINT "integration_run_pk" PRIMARY KEY ("job_id", "type"))`,
  `CREATE INDEX "integration_run_open" ON "integration_run" ("project_id", "type", "next_at") WHERE status = 'open'`,
];
