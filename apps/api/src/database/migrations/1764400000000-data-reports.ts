import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What data are for a base, kept so that it is read once; a base's configuration; speeds to estimate by. */
export class DataReports1764400000000 implements MigrationInterface {
  readonly name = 'DataReports1764400000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE "data_report" ("key" text NOT NULL, "outcome" jsonb NOT NULL,
      "created_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(), CONSTRAINT "data_report_pk" PRIMARY KEY ("key"))`);
    await runner.query(`ALTER TABLE "model" ADD "config" jsonb`);
    await runner.query(`ALTER TABLE "job" ADD "data" jsonb`);
    await runner.query(
      `CREATE INDEX "job_speed" ON "job" ("base_id", "updated_at") WHERE tokens_per_second IS NOT NULL`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX "job_speed"`);
    await runner.query(`ALTER TABLE "job" DROP COLUMN "data"`);
    await runner.query(`ALTER TABLE "model" DROP COLUMN "config"`);
    await runner.query(`DROP TABLE "data_report"`);
  }
}
