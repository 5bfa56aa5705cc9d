import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Jobs that are to hand their slot to one of higher priority. */
export class Preemption1764832000000 implements MigrationInterface {
  readonly name = 'Preemption1764832000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "job" ADD "preempting_at" TIMESTAMP WITH TIME ZONE`);
    await runner.query(`ALTER TABLE "job" ADD "preempted" integer NOT NULL DEFAULT '0'`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "job" DROP COLUMN "preempted"`);
    await runner.query(`ALTER TABLE "job" DROP COLUMN "preempting_at"`);
  }
}
