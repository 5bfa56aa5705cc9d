import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The upload of a file that is deleted is found without reading all others. */
export class UploadFile1764963400000 implements MigrationInterface {
  readonly name = 'UploadFile1764963400000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE INDEX "upload_file" ON "upload" ("file_id") WHERE file_id IS NOT NULL`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX "upload_file"`);
  }
}
