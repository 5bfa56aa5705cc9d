import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What a job will train, as far as was known when it was created: when others will start follows from it. */
export class EstimatedTokens1764833000000 implements MigrationInterface {
  readonly name = 'EstimatedTokens1764833000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "job" ADD "estimated_tokens" bigint`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "job" DROP COLUMN "estimated_tokens"`);
  }
}
