import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * What of a run's items was deleted with a file or a model, and whether that is still to be done. Runs are found by the
 * file that their items came from.
 */
export class EvalTexts1764963100002 implements MigrationInterface {
  readonly name = 'EvalTexts1764963100002';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `ALTER TABLE "eval_run" ADD "items_deleted_at" TIMESTAMP WITH TIME ZONE,
         ADD "samples_deleted_at" TIMESTAMP WITH TIME ZONE, ADD "to_erase" boolean NOT NULL DEFAULT false`,
    );
    await runner.query(`CREATE INDEX "eval_run_to_erase" ON "eval_run" ("id") WHERE to_erase`);
    // It reads the items of runs that brought them along, whatever time that takes.
    await runner.query(`SET LOCAL statement_timeout = 0`);
    await runner.query(
      `CREATE INDEX "eval_run_file" ON "eval_run" ((data_source->'source'->>'id'))
       WHERE data_source->'source'->>'id' IS NOT NULL`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX "eval_run_file"`);
    await runner.query(`DROP INDEX "eval_run_to_erase"`);
    await runner.query(
      `ALTER TABLE "eval_run" DROP COLUMN "to_erase", DROP COLUMN "samples_deleted_at", DROP COLUMN "items_deleted_at"`,
    );
  }
}
