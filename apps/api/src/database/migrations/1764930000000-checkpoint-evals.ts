import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Runs of evals that score checkpoints of a job, one for each step, and the best score so far. */
export class CheckpointEvals1764930000000 implements MigrationInterface {
  readonly name = 'CheckpointEvals1764930000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "eval_run" ADD "job_id" text, ADD "step" integer`);
    await runner.query(
      `CREATE UNIQUE INDEX "eval_run_checkpoint" ON "eval_run" ("job_id", "step") WHERE job_id IS NOT NULL`,
    );
    await runner.query(`ALTER TABLE "job" ADD "best_score" jsonb`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "job" DROP COLUMN "best_score"`);
    await runner.query(`DROP INDEX "eval_run_checkpoint"`);
    await runner.query(`ALTER TABLE "eval_run" DROP COLUMN "step", DROP COLUMN "job_id"`);
  }
}
