import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Sweeps, what became of their trials at rungs, and what jobs know of it. */
export class Sweeps1764955000000 implements MigrationInterface {
  readonly name = 'Sweeps1764955000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE "sweep" ("id" text NOT NULL, "project_id" text NOT NULL, "request" jsonb NOT NULL,
        "search" jsonb NOT NULL, "model" text NOT NULL, "training_file" text NOT NULL, "suffix" text, "metadata" jsonb,
        "created_at" timestamptz NOT NULL DEFAULT now(), "cancelled_at" timestamptz,
        CONSTRAINT "sweep_pk" PRIMARY KEY ("id"))`,
    );
    await runner.query(
      `CREATE INDEX "sweep_project" ON "sweep" ("project_id", "created_at", "id")`,
    );
    await runner.query(
      `CREATE TABLE "sweep_rung" ("job_id" text NOT NULL, "step" integer NOT NULL, "sweep_id" text NOT NULL,
        "score" double precision, "kept" boolean NOT NULL, "created_at" timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT "sweep_rung_pk" PRIMARY KEY ("job_id", "step"))`,
    );
    await runner.query(`CREATE INDEX "sweep_rung_step" ON "sweep_rung" ("sweep_id", "step")`);
    await runner.query(
      `ALTER TABLE "job" ADD "sweep_id" text, ADD "trial" integer, ADD "trial_options" jsonb,
        ADD "end_at_step" integer, ADD "run_bytes" bigint, ADD "forgetting" jsonb`,
    );
    await runner.query(
      `CREATE UNIQUE INDEX "job_sweep" ON "job" ("sweep_id", "trial") WHERE sweep_id IS NOT NULL`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX "job_sweep"`);
    await runner.query(
      `ALTER TABLE "job" DROP COLUMN "forgetting", DROP COLUMN "run_bytes", DROP COLUMN "end_at_step", DROP COLUMN "trial_options",
        DROP COLUMN "trial", DROP COLUMN "sweep_id"`,
    );
    await runner.query(`DROP TABLE "sweep_rung"`);
    await runner.query(`DROP TABLE "sweep"`);
  }
}
