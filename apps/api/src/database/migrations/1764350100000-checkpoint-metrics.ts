import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What was measured at a checkpoint's step is in the tables of metrics and evaluations; the copy held older values. */
export class CheckpointMetrics1764350100000 implements MigrationInterface {
  readonly name = 'CheckpointMetrics1764350100000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "checkpoint" DROP "metrics"`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "checkpoint" ADD "metrics" jsonb NOT NULL DEFAULT '{}'`);
  }
}
