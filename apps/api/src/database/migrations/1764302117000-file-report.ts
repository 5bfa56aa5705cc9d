import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Keeps what the check of an upload counted. */
export class FileReport1764302117000 implements MigrationInterface {
  readonly name = 'FileReport1764302117000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "file" ADD "report" jsonb`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "file" DROP COLUMN "report"`);
  }
}
