import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * What of a run's items was deleted with a file or a model, and whether that is still to be done. Runs are found by the
 * file that their items came from. A trigger writes it, also for the build before; of runs that are there already it is
 * null until the running service has filled it in.
 */
export class EvalTexts1764963100002 implements MigrationInterface {
  readonly name = 'EvalTexts1764963100002';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `ALTER TABLE "eval_run" ADD "items_deleted_at" TIMESTAMP WITH TIME ZONE,
         ADD "samples_deleted_at" TIMESTAMP WITH TIME ZONE, ADD "to_erase" boolean NOT NULL DEFAULT false,
         ADD "source_file" text`,
    );
    await runner.query(`CREATE INDEX "eval_run_to_erase" ON "eval_run" ("id") WHERE to_erase`);
    await runner.query(`CREATE INDEX "eval_run_file" ON "eval_run" ("source_file")`);
    await runner.query(`CREATE FUNCTION eval_run_source_file() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        NEW.source_file := COALESCE(NEW.data_source->'source'->>'id', '');
        RETURN NEW;
      END $$`);
    await runner.query(`CREATE TRIGGER eval_run_source_file BEFORE INSERT ON "eval_run"
      FOR EACH ROW EXECUTE FUNCTION eval_run_source_file()`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP TRIGGER eval_run_source_file ON "eval_run"`);
    await runner.query(`DROP FUNCTION eval_run_source_file`);
    await runner.query(`DROP INDEX "eval_run_file"`);
    await runner.query(`DROP INDEX "eval_run_to_erase"`);
    await runner.query(
      `ALTER TABLE "eval_run" DROP COLUMN "source_file", DROP COLUMN "to_erase", DROP COLUMN "samples_deleted_at", DROP COLUMN "items_deleted_at"`,
    );
  }
}
