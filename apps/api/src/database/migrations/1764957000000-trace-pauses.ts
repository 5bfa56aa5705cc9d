import type { MigrationInterface, QueryRunner } from 'typeorm';

/** When a job's trace that could not be made or sent is tried again. */
export class TracePauses1764957000000 implements MigrationInterface {
  readonly name = 'TracePauses1764957000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `ALTER TABLE "trace_export" ADD "failures" integer NOT NULL DEFAULT 0,
         ADD "next_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now()`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "trace_export" DROP COLUMN "next_at", DROP COLUMN "failures"`);
  }
}
