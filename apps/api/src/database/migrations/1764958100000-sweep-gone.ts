import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A sweep goes on to say how it ended when its trials are deleted for good. */
export class SweepGone1764958100000 implements MigrationInterface {
  readonly name = 'SweepGone1764958100000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "sweep" ADD "gone" jsonb NOT NULL DEFAULT '[]'`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "sweep" DROP COLUMN "gone"`);
  }
}
