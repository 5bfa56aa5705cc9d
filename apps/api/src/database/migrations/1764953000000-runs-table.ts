import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What people say of a job, and when it was deleted, with what it made. */
export class RunsTable1764953000000 implements MigrationInterface {
  readonly name = 'RunsTable1764953000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `ALTER TABLE "job" ADD "name" text, ADD "tags" jsonb NOT NULL DEFAULT '[]', ADD "note" text,
         ADD "archived_at" TIMESTAMP WITH TIME ZONE, ADD "deleted_at" TIMESTAMP WITH TIME ZONE`,
    );
    await runner.query(
      `CREATE INDEX "job_deleted" ON "job" ("deleted_at") WHERE deleted_at IS NOT NULL`,
    );
    for (const table of ['model', 'file'])
      await runner.query(`ALTER TABLE "${table}" ADD "deleted_at" TIMESTAMP WITH TIME ZONE`);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['file', 'model'])
      await runner.query(`ALTER TABLE "${table}" DROP COLUMN "deleted_at"`);
    await runner.query(`DROP INDEX "job_deleted"`);
    await runner.query(
      `ALTER TABLE "job" DROP COLUMN "deleted_at", DROP COLUMN "archived_at", DROP COLUMN "note", DROP COLUMN "tags",
         DROP COLUMN "name"`,
    );
  }
}
