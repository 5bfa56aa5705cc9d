import type { MigrationInterface, QueryRunner } from 'typeorm';

/** An operation on adapters is a job without training data. */
export class Operations1764910000000 implements MigrationInterface {
  readonly name = 'Operations1764910000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE "job" ALTER COLUMN "training_file" DROP NOT NULL');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DELETE FROM "job" WHERE "training_file" IS NULL');
    await runner.query('ALTER TABLE "job" ALTER COLUMN "training_file" SET NOT NULL');
  }
}
