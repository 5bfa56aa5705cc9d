import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Workers that are to drain, since when jobs wait, and what pools were like. */
export class Scaling1764880000000 implements MigrationInterface {
  readonly name = 'Scaling1764880000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "worker" ADD "drain_instance" text`);
    await runner.query(
      `ALTER TABLE "job" ADD "queued_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now()`,
    );
    await runner.query(`UPDATE "job" SET "queued_at" = "updated_at" WHERE "state" = 'queued'`);
    await runner.query(
      `CREATE TABLE "pool_sample" ("pool" text NOT NULL, "at" TIMESTAMP WITH TIME ZONE NOT NULL,
         "queued" integer NOT NULL, "running" integer NOT NULL, "slots" integer NOT NULL, "free_slots" integer NOT NULL,
         CONSTRAINT "pool_sample_pk" PRIMARY KEY ("pool", "at"))`,
    );
    await runner.query(`CREATE INDEX "pool_sample_at" ON "pool_sample" ("at")`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP TABLE "pool_sample"`);
    await runner.query(`ALTER TABLE "job" DROP COLUMN "queued_at"`);
    await runner.query(`ALTER TABLE "worker" DROP COLUMN "drain_instance"`);
  }
}
