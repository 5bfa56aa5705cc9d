import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Tells a restored or failed-over database from the one that it was. */
export class Installation1764200000000 implements MigrationInterface {
  readonly name = 'Installation1764200000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE "installation" ("id" integer NOT NULL,
      "system_identifier" text NOT NULL,
      "timeline" integer NOT NULL,
      "mark" bigint NOT NULL DEFAULT 0, CONSTRAINT "installation_pk" PRIMARY KEY ("id"))`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP TABLE "installation"`);
  }
}
