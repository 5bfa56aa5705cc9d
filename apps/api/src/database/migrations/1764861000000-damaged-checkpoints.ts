import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Checkpoints that were found damaged, and which folder or bucket the blobs of this installation lie in. */
export class DamagedCheckpoints1764861000000 implements MigrationInterface {
  readonly name = 'DamagedCheckpoints1764861000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "checkpoint" ADD "damaged_at" TIMESTAMP WITH TIME ZONE`);
    await runner.query(`ALTER TABLE "installation" ADD "blob_marker" text`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "installation" DROP COLUMN "blob_marker"`);
    await runner.query(`ALTER TABLE "checkpoint" DROP COLUMN "damaged_at"`);
  }
}
