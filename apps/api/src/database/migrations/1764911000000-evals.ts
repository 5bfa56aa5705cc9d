import type { MigrationInterface, QueryRunner } from 'typeorm';

/** OpenAI's evals: their runs, and the items of these, which any API process may go on with. */
export class Evals1764911000000 implements MigrationInterface {
  readonly name = 'Evals1764911000000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of UP) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['eval_item', 'eval_run', 'eval'])
      await runner.query(`DROP TABLE "${table}"`);
  }
}

const UP = [
  `CREATE TABLE "eval" ("id" text NOT NULL,
    "project_id" text NOT NULL,
    "name" text NOT NULL,
    "data_source_config" jsonb NOT NULL,
    "testing_criteria" jsonb NOT NULL,
    "metadata" jsonb,
    "created_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    "updated_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(), CONSTRAINT "eval_pk" PRIMARY KEY ("id"))`,
  `CREATE INDEX "eval_project" ON "eval" ("project_id", "created_at", "id")`,
  `CREATE TABLE "eval_run" ("id" text NOT NULL,
    "eval_id" text NOT NULL,
    "project_id" text NOT NULL,
    "key_id" text NOT NULL,
    "name" text NOT NULL,
    "model" text NOT NULL,
    "data_source" jsonb NOT NULL,
    "metadata" jsonb,
    "status" text NOT NULL DEFAULT 'queued',
    "owner" text,
    "owner_until" TIMESTAMP WITH TIME ZONE,
    "created_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(), CONSTRAINT "eval_run_pk" PRIMARY KEY ("id"))`,
  `CREATE INDEX "eval_run_eval" ON "eval_run" ("eval_id", "created_at", "id")`,
  `CREATE INDEX "eval_run_open" ON "eval_run" ("created_at") WHERE status IN ('queued', 'in_progress')`,
  `CREATE TABLE "eval_item" ("run_id" text NOT NULL,
    "number" integer NOT NULL,
    "item" jsonb NOT NULL,
    "sample" jsonb,
    "status" text NOT NULL DEFAULT 'queued',
    "results" jsonb NOT NULL DEFAULT '[]',
    "usage" jsonb NOT NULL DEFAULT '{}',
    "done_at" TIMESTAMP WITH TIME ZONE, CONSTRAINT "eval_item_pk" PRIMARY KEY ("run_id", "number"))`,
];
