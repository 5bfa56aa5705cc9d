import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Runs of a model and its checkpoints are found by how its name begins, whatever the database's collation. */
export class EvalRunModel1764963200000 implements MigrationInterface {
  readonly name = 'EvalRunModel1764963200000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE INDEX "eval_run_model" ON "eval_run" ("model" COLLATE "C")`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX "eval_run_model"`);
  }
}
