import type { MigrationInterface, QueryRunner } from 'typeorm';

/** An import belongs to one process at a time, and goes to another when that one is gone. */
export class ImportClaims1764873000000 implements MigrationInterface {
  readonly name = 'ImportClaims1764873000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "model" ADD "import_owner" text`);
    await runner.query(`ALTER TABLE "model" ADD "import_until" TIMESTAMP WITH TIME ZONE`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "model" DROP COLUMN "import_until"`);
    await runner.query(`ALTER TABLE "model" DROP COLUMN "import_owner"`);
  }
}
