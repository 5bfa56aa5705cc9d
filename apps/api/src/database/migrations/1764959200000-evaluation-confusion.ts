import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Which labels an evaluation took for which. */
export class EvaluationConfusion1764959200000 implements MigrationInterface {
  readonly name = 'EvaluationConfusion1764959200000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "evaluation" ADD "confusion" jsonb`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "evaluation" DROP COLUMN "confusion"`);
  }
}
