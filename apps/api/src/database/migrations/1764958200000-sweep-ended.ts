import type { MigrationInterface, QueryRunner } from 'typeorm';

/** When a sweep was over, which is told once. */
export class SweepEnded1764958200000 implements MigrationInterface {
  readonly name = 'SweepEnded1764958200000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "sweep" ADD "ended_at" TIMESTAMP WITH TIME ZONE`);
    // Those that are over already are told no more; one whose models are still asked for their scores is not over.
    await runner.query(`UPDATE "sweep" SET "ended_at" = "created_at" WHERE NOT EXISTS (
      SELECT 1 FROM "job" WHERE "sweep_id" = "sweep"."id" AND ("state" IN ('queued', 'running', 'paused')
        OR ("sweep"."search"->>'metric' = 'eval_score' AND "state" = 'succeeded' AND EXISTS (
          SELECT 1 FROM "eval_run" WHERE "job_id" = "job"."id" AND "eval_run"."step" = "job"."step"
            AND "status" IN ('queued', 'in_progress')))))`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "sweep" DROP COLUMN "ended_at"`);
  }
}
