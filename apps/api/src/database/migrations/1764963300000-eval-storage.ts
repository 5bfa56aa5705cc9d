import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * What the items of a run of an eval take counts as stored by its project, by triggers, also for the build before: the
 * items from when they are made, the answers once the run is over, and what is erased no longer. Runs that are over
 * already count nothing until their items are erased. Runs of checkpoints count nothing: a job must not fill its own
 * project, where its next checkpoint would have to wait.
 */
export class EvalStorage1764963300000 implements MigrationInterface {
  readonly name = 'EvalStorage1764963300000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of UP) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await runner.query(statement);
  }
}

/** SQL: what a row takes; of a value that PostgreSQL has compressed, that size. */
const SIZE = `sum(pg_column_size(item) + COALESCE(pg_column_size(sample), 0) + pg_column_size(results))`;

const IS_OPEN = `IN ('queued', 'in_progress')`;

const UP = [
  `ALTER TABLE "eval_run" ADD "bytes" bigint NOT NULL DEFAULT 0`,
  `CREATE FUNCTION count_new_eval_items() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
     UPDATE eval_run SET bytes = bytes + counted.size
     FROM (SELECT run_id, ${SIZE} AS size FROM came GROUP BY run_id) AS counted
     WHERE id = counted.run_id AND job_id IS NULL;
     RETURN NULL; END $$`,
  `CREATE FUNCTION count_all_eval_items() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
     NEW.bytes := (SELECT COALESCE(${SIZE}, 0) FROM eval_item WHERE run_id = NEW.id);
     RETURN NEW; END $$`,
  `CREATE FUNCTION store_eval_bytes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
     IF TG_OP = 'DELETE' THEN
       INSERT INTO storage_change (project_id, bytes) VALUES (OLD.project_id, -OLD.bytes);
     ELSE
       INSERT INTO storage_change (project_id, bytes) VALUES (NEW.project_id, NEW.bytes - OLD.bytes);
     END IF;
     RETURN NULL; END $$`,
  `CREATE TRIGGER count_new_eval_items AFTER INSERT ON "eval_item" REFERENCING NEW TABLE AS came
    FOR EACH STATEMENT EXECUTE FUNCTION count_new_eval_items()`,
  `CREATE TRIGGER count_all_eval_items BEFORE UPDATE ON "eval_run" FOR EACH ROW
    WHEN (NEW.job_id IS NULL AND ((OLD.status ${IS_OPEN} AND NOT NEW.status ${IS_OPEN}) OR (OLD.to_erase AND NOT NEW.to_erase)))
    EXECUTE FUNCTION count_all_eval_items()`,
  `CREATE TRIGGER store_eval_bytes AFTER UPDATE ON "eval_run" FOR EACH ROW
    WHEN (OLD.bytes <> NEW.bytes) EXECUTE FUNCTION store_eval_bytes()`,
  `CREATE TRIGGER free_eval_bytes AFTER DELETE ON "eval_run" FOR EACH ROW
    WHEN (OLD.bytes <> 0) EXECUTE FUNCTION store_eval_bytes()`,
];

const DOWN = [
  `DROP TRIGGER free_eval_bytes ON "eval_run"`,
  `DROP TRIGGER store_eval_bytes ON "eval_run"`,
  `DROP TRIGGER count_all_eval_items ON "eval_run"`,
  `DROP TRIGGER count_new_eval_items ON "eval_item"`,
  `DROP FUNCTION store_eval_bytes()`,
  `DROP FUNCTION count_all_eval_items()`,
  `DROP FUNCTION count_new_eval_items()`,
  `INSERT INTO storage_change (project_id, bytes) SELECT project_id, -sum(bytes) FROM eval_run GROUP BY project_id`,
  `ALTER TABLE "eval_run" DROP COLUMN "bytes"`,
];
