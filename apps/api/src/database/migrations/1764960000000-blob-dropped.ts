import type { MigrationInterface, QueryRunner } from 'typeorm';

/** When a row last ceased to name a blob. A part of an upload is of no use to a backup. */
export class BlobDropped1764960000000 implements MigrationInterface {
  readonly name = 'BlobDropped1764960000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "blob" ADD "dropped_at" TIMESTAMP WITH TIME ZONE`);
    // In the order of names, so that two transactions never wait for each other.
    await runner.query(
      `CREATE FUNCTION note_dropped_blobs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         UPDATE blob SET dropped_at = clock_timestamp() FROM (
           SELECT sha256 FROM blob WHERE sha256 IN (SELECT sha256 FROM gone WHERE kind <> 'part') ORDER BY sha256 FOR UPDATE
         ) AS dropped WHERE blob.sha256 = dropped.sha256;
         RETURN NULL; END $$`,
    );
    await runner.query(
      `CREATE TRIGGER note_dropped_blobs AFTER DELETE ON "blob_ref" REFERENCING OLD TABLE AS gone
       FOR EACH STATEMENT EXECUTE FUNCTION note_dropped_blobs()`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP TRIGGER note_dropped_blobs ON "blob_ref"`);
    await runner.query(`DROP FUNCTION note_dropped_blobs()`);
    await runner.query(`ALTER TABLE "blob" DROP COLUMN "dropped_at"`);
  }
}
