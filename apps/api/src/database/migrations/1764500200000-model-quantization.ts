import type { MigrationInterface, QueryRunner } from 'typeorm';

/** An adapter is chatted with on the base that it was trained on, packed as it was then. */
export class ModelQuantization1764500200000 implements MigrationInterface {
  readonly name = 'ModelQuantization1764500200000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "model" ADD COLUMN "quantization" text`);
    await runner.query(
      `UPDATE "model" SET "quantization" = job.spec->>'quantization' FROM job WHERE job.id = "model".job_id`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "model" DROP COLUMN "quantization"`);
  }
}
