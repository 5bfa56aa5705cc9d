import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * What each key may still send. Unlogged: a write waits for no disk, and after a crash of the server every bucket is
 * full again.
 */
export class Bucket1764841000000 implements MigrationInterface {
  readonly name = 'Bucket1764841000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE UNLOGGED TABLE "bucket" ("key_id" text NOT NULL,
        "tokens" double precision NOT NULL,
        "allowed" boolean NOT NULL,
        "at" TIMESTAMP WITH TIME ZONE NOT NULL, CONSTRAINT "bucket_pk" PRIMARY KEY ("key_id")) WITH (fillfactor = 50)`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE "bucket"');
  }
}
