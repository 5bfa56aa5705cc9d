import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What a job's owner should know stands on its row, so that lists have it without a look at events. */
export class JobWarningsAndBest1764350200000 implements MigrationInterface {
  readonly name = 'JobWarningsAndBest1764350200000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `ALTER TABLE "job" ADD "warnings" jsonb NOT NULL DEFAULT '[]', ADD "best" jsonb`,
    );
    await runner.query(`UPDATE job SET best = (
      SELECT jsonb_build_object('step', step, 'valid_loss', loss) FROM evaluation
      WHERE evaluation.job_id = job.id AND loss < 'Infinity' ORDER BY loss, step LIMIT 1)`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "job" DROP "warnings", DROP "best"`);
  }
}
