/** SQL for the bytes of rows of `eval_item`. Values that PostgreSQL compressed count with their compressed size. */
const SIZE = `sum(pg_column_size(item) + COALESCE(pg_column_size(sample), 0) + pg_column_size(results))`;

const IS_OPEN = `IN ('queued', 'in_progress')`;

export const EVALS = [
  `CREATE TABLE "eval" (
    "id" text NOT NULL,
    "project_id" text NOT NULL,
    "name" text NOT NULL,
    "data_source_config" jsonb NOT NULL,
    "testing_criteria" jsonb NOT NULL,
    "metadata" jsonb,
    "created_at" timestamptz DEFAULT now() NOT NULL,
    "updated_at" timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT "eval_pk" PRIMARY KEY ("id")
  )`,
  `CREATE INDEX "eval_project" ON "eval" ("project_id", "created_at", "id")`,

  `CREATE TABLE "eval_run" (
    "id" text NOT NULL,
    "eval_id" text NOT NULL,
    "project_id" text NOT NULL,
    "key_id" text NOT NULL,
    "name" text NOT NULL,
    "model" text NOT NULL,
    "data_source" jsonb NOT NULL,
    "metadata" jsonb,
    "status" text DEFAULT 'queued' NOT NULL,
    "owner" text,
    "owner_until" timestamptz,
    "created_at" timestamptz DEFAULT now() NOT NULL,
    "job_id" text,
    "step" integer,
    "taken_at" timestamptz,
    "waiting_since" timestamptz,
    "resume_at" timestamptz,
    "wanted_pool" text,
    "error" jsonb,
    "items_deleted_at" timestamptz,
    "samples_deleted_at" timestamptz,
    "to_erase" boolean DEFAULT false NOT NULL,
    "source_file" text NOT NULL,
    "bytes" bigint DEFAULT 0 NOT NULL,
    CONSTRAINT "eval_run_pk" PRIMARY KEY ("id")
  )`,
  `CREATE UNIQUE INDEX "eval_run_checkpoint" ON "eval_run" ("job_id", "step") WHERE job_id IS NOT NULL`,
  `CREATE INDEX "eval_run_eval" ON "eval_run" ("eval_id", "created_at", "id")`,
  `CREATE INDEX "eval_run_file" ON "eval_run" ("source_file")`,
  `CREATE INDEX "eval_run_model" ON "eval_run" ("model" COLLATE "C")`,
  `CREATE INDEX "eval_run_open" ON "eval_run" ("created_at") WHERE status IN ('queued', 'in_progress')`,
  `CREATE INDEX "eval_run_to_erase" ON "eval_run" ("id") WHERE to_erase`,
  `CREATE INDEX "eval_run_turn" ON "eval_run" ("project_id", "taken_at") WHERE taken_at IS NOT NULL`,

  `CREATE TABLE "eval_item" (
    "run_id" text NOT NULL,
    "number" integer NOT NULL,
    "item" jsonb NOT NULL,
    "sample" jsonb,
    "status" text DEFAULT 'queued' NOT NULL,
    "results" jsonb DEFAULT '[]' NOT NULL,
    "usage" jsonb DEFAULT '{}' NOT NULL,
    "done_at" timestamptz,
    CONSTRAINT "eval_item_pk" PRIMARY KEY ("run_id", "number")
  )`,

  // File that the items of a run come from, so that deleting the file finds the run.
  `CREATE FUNCTION eval_run_source_file() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        NEW.source_file := COALESCE(NEW.data_source->'source'->>'id', '');
        RETURN NEW;
      END $$`,
  `CREATE TRIGGER eval_run_source_file BEFORE INSERT ON "eval_run"
    FOR EACH ROW EXECUTE FUNCTION eval_run_source_file()`,

  // A project's storage includes the items of its runs as soon as they are written, and the answers from the end of
  // the run until they are erased. Runs that score checkpoints do not count: otherwise a job could fill its project's
  // storage, and its next checkpoint would be rejected.
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
