import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * A row for each blob that another row names, so that nobody has to open every list of files to find out. Kept by
 * triggers: whoever writes a list cannot forget it.
 */
export class BlobRefs1764860000000 implements MigrationInterface {
  readonly name = 'BlobRefs1764860000000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of UP) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await runner.query(statement);
  }
}

const OPEN = `('queued', 'running', 'paused')`;

const UP = [
  `CREATE TABLE "blob_ref" ("sha256" text NOT NULL,
    "kind" text NOT NULL,
    "owner_id" text NOT NULL,
    "project_id" text,
    "size" bigint NOT NULL, CONSTRAINT "blob_ref_pk" PRIMARY KEY ("sha256", "kind", "owner_id"))`,
  `CREATE INDEX "blob_ref_owner" ON "blob_ref" ("kind", "owner_id")`,
  `CREATE INDEX "blob_ref_project" ON "blob_ref" ("project_id", "sha256")`,

  `CREATE FUNCTION name_blobs(a_kind text, an_owner text, a_project text, files jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO blob_ref (sha256, kind, owner_id, project_id, size)
    SELECT part->>'sha256', a_kind, an_owner, a_project, (part->>'size')::bigint FROM jsonb_array_elements(files) AS part
    ON CONFLICT DO NOTHING $$`,
  `CREATE FUNCTION forget_blobs(a_kind text, an_owner text) RETURNS void LANGUAGE sql AS $$
    DELETE FROM blob_ref WHERE kind = a_kind AND owner_id = an_owner $$`,

  `CREATE FUNCTION file_blob_refs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP <> 'INSERT' THEN PERFORM forget_blobs('file', OLD.id); END IF;
    IF TG_OP <> 'DELETE' THEN
      INSERT INTO blob_ref VALUES (NEW.sha256, 'file', NEW.id, NEW.project_id, NEW.bytes);
    END IF;
    RETURN NULL; END $$`,
  `CREATE TRIGGER file_blob_refs AFTER INSERT OR DELETE OR UPDATE OF id, sha256, bytes, project_id ON "file"
    FOR EACH ROW EXECUTE FUNCTION file_blob_refs()`,

  `CREATE FUNCTION model_blob_refs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP <> 'INSERT' THEN PERFORM forget_blobs('model', OLD.id); END IF;
    IF TG_OP <> 'DELETE' THEN PERFORM name_blobs('model', NEW.id, NEW.project_id, NEW.files); END IF;
    RETURN NULL; END $$`,
  `CREATE TRIGGER model_blob_refs AFTER INSERT OR DELETE OR UPDATE OF id, files, project_id ON "model"
    FOR EACH ROW EXECUTE FUNCTION model_blob_refs()`,

  `CREATE FUNCTION checkpoint_blob_refs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP <> 'INSERT' THEN PERFORM forget_blobs('checkpoint', OLD.id); END IF;
    IF TG_OP <> 'DELETE' THEN
      PERFORM name_blobs('checkpoint', NEW.id, (SELECT project_id FROM job WHERE id = NEW.job_id), NEW.files || NEW.adapter);
    END IF;
    RETURN NULL; END $$`,
  `CREATE TRIGGER checkpoint_blob_refs AFTER INSERT OR DELETE OR UPDATE OF id, files, adapter ON "checkpoint"
    FOR EACH ROW EXECUTE FUNCTION checkpoint_blob_refs()`,

  `CREATE FUNCTION artifact_blob_refs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP <> 'INSERT' THEN
      DELETE FROM blob_ref WHERE sha256 = OLD.sha256 AND kind = 'artifact'
        AND owner_id = concat_ws('/', OLD.job_id, OLD.attempt, OLD.name);
    END IF;
    IF TG_OP <> 'DELETE' THEN
      INSERT INTO blob_ref VALUES (NEW.sha256, 'artifact', concat_ws('/', NEW.job_id, NEW.attempt, NEW.name),
        (SELECT project_id FROM job WHERE id = NEW.job_id), NEW.size);
    END IF;
    RETURN NULL; END $$`,
  `CREATE TRIGGER artifact_blob_refs AFTER INSERT OR DELETE OR UPDATE OF size ON "artifact"
    FOR EACH ROW EXECUTE FUNCTION artifact_blob_refs()`,

  // The adapter that a job starts from, until it is over.
  `CREATE FUNCTION job_blob_refs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM forget_blobs('job', CASE TG_OP WHEN 'INSERT' THEN NEW.id ELSE OLD.id END);
    IF TG_OP <> 'DELETE' THEN
      IF NEW.state IN ${OPEN} THEN PERFORM name_blobs('job', NEW.id, NEW.project_id, NEW.init_adapter); END IF;
    END IF;
    RETURN NULL; END $$`,
  `CREATE TRIGGER job_blob_refs_new AFTER INSERT ON "job"
    FOR EACH ROW WHEN (NEW.init_adapter <> '[]') EXECUTE FUNCTION job_blob_refs()`,
  `CREATE TRIGGER job_blob_refs_changed AFTER UPDATE OF state, init_adapter ON "job"
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state AND OLD.init_adapter <> '[]'
      OR OLD.init_adapter IS DISTINCT FROM NEW.init_adapter) EXECUTE FUNCTION job_blob_refs()`,
  `CREATE TRIGGER job_blob_refs_gone AFTER DELETE ON "job"
    FOR EACH ROW WHEN (OLD.init_adapter <> '[]') EXECUTE FUNCTION job_blob_refs()`,

  `INSERT INTO blob_ref SELECT sha256, 'file', id, project_id, bytes FROM file`,
  `INSERT INTO blob_ref SELECT artifact.sha256, 'artifact', concat_ws('/', job_id, artifact.attempt, name), job.project_id,
    artifact.size FROM artifact LEFT JOIN job ON job.id = job_id`,
  `INSERT INTO blob_ref SELECT part->>'sha256', 'model', id, project_id, (part->>'size')::bigint
    FROM model, jsonb_array_elements(files) AS part ON CONFLICT DO NOTHING`,
  `INSERT INTO blob_ref SELECT part->>'sha256', 'checkpoint', checkpoint.id, project_id, (part->>'size')::bigint
    FROM checkpoint LEFT JOIN job ON job.id = job_id, jsonb_array_elements(files || adapter) AS part ON CONFLICT DO NOTHING`,
  `INSERT INTO blob_ref SELECT part->>'sha256', 'job', id, project_id, (part->>'size')::bigint
    FROM job, jsonb_array_elements(init_adapter) AS part WHERE state IN ${OPEN} ON CONFLICT DO NOTHING`,

  // Retention looks at jobs with a new checkpoint, and at files that end.
  `CREATE INDEX "checkpoint_created" ON "checkpoint" ("created_at", "job_id")`,
  `CREATE INDEX "file_expires" ON "file" ("expires_at") WHERE expires_at IS NOT NULL`,
];

const DOWN = [
  `DROP INDEX "file_expires"`,
  `DROP INDEX "checkpoint_created"`,
  ...['job_blob_refs_new', 'job_blob_refs_changed', 'job_blob_refs_gone'].map(
    (trigger) => `DROP TRIGGER ${trigger} ON "job"`,
  ),
  ...['artifact', 'checkpoint', 'model', 'file'].map(
    (table) => `DROP TRIGGER ${table}_blob_refs ON "${table}"`,
  ),
  ...['job', 'artifact', 'checkpoint', 'model', 'file'].map(
    (table) => `DROP FUNCTION ${table}_blob_refs()`,
  ),
  `DROP FUNCTION forget_blobs(text, text)`,
  `DROP FUNCTION name_blobs(text, text, text, jsonb)`,
  `DROP TABLE "blob_ref"`,
];
