import type { MigrationInterface, QueryRunner } from 'typeorm';

/** When a project's deletion was asked for, and when it is due. */
export class ProjectDeletion1764963000002 implements MigrationInterface {
  readonly name = 'ProjectDeletion1764963000002';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `ALTER TABLE "project" ADD "deleted_at" TIMESTAMP WITH TIME ZONE, ADD "deletes_at" TIMESTAMP WITH TIME ZONE`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "project" DROP COLUMN "deletes_at", DROP COLUMN "deleted_at"`);
  }
}
