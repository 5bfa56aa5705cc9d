import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A run of an eval that waits holds no slot, and projects take turns. */
export class EvalTurns1764959300000 implements MigrationInterface {
  readonly name = 'EvalTurns1764959300000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `ALTER TABLE "eval_run" ADD "taken_at" timestamp with time zone, ADD "waiting_since" timestamp with time zone,
         ADD "resume_at" timestamp with time zone, ADD "wanted_pool" text, ADD "error" jsonb`,
    );
    await runner.query(
      `CREATE INDEX "eval_run_turn" ON "eval_run" ("project_id", "taken_at") WHERE taken_at IS NOT NULL`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX "eval_run_turn"`);
    await runner.query(
      `ALTER TABLE "eval_run" DROP COLUMN "error", DROP COLUMN "wanted_pool", DROP COLUMN "resume_at",
         DROP COLUMN "waiting_since", DROP COLUMN "taken_at"`,
    );
  }
}
