import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Which trainer process an attempt ran in, and whose fault its end was. */
export class Blame1764815000000 implements MigrationInterface {
  readonly name = 'Blame1764815000000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of UP) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await runner.query(statement);
  }
}

const UP = [
  `ALTER TABLE "job" ADD "present_at_deaths" integer NOT NULL DEFAULT '0'`,
  `ALTER TABLE "job" ADD "waited_seconds" double precision NOT NULL DEFAULT '0'`,
  `ALTER TABLE "attempt" ADD "process" text`,
  `ALTER TABLE "attempt" ADD "blame" text`,
  `CREATE INDEX "attempt_own" ON "attempt" ("worker_id", "ended_at") WHERE blame = 'own'`,
  `CREATE INDEX "attempt_process" ON "attempt" ("process") WHERE ended_at IS NULL`,
  `ALTER TABLE "worker" ADD "cordon_reason" text`,
  `ALTER TABLE "worker" ADD "uncordoned_at" TIMESTAMP WITH TIME ZONE`,
];

const DOWN = [
  `ALTER TABLE "worker" DROP COLUMN "uncordoned_at"`,
  `ALTER TABLE "worker" DROP COLUMN "cordon_reason"`,
  `DROP INDEX "attempt_process"`,
  `DROP INDEX "attempt_own"`,
  `ALTER TABLE "attempt" DROP COLUMN "blame"`,
  `ALTER TABLE "attempt" DROP COLUMN "process"`,
  `ALTER TABLE "job" DROP COLUMN "waited_seconds"`,
  `ALTER TABLE "job" DROP COLUMN "present_at_deaths"`,
];
