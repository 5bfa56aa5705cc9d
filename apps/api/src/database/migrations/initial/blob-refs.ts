/**
 * Triggers that maintain `blob_ref` (references of rows to blobs), `blob.dropped_at` and the storage of projects, so
 * that no code can forget to update them.
 */
export const BLOB_REFS = [
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

  // The adapter that a job starts from is referenced while the job is open.
  `CREATE FUNCTION job_blob_refs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM forget_blobs('job', CASE TG_OP WHEN 'INSERT' THEN NEW.id ELSE OLD.id END);
    IF TG_OP <> 'DELETE' THEN
      IF NEW.state IN ('queued', 'running', 'paused') THEN PERFORM name_blobs('job', NEW.id, NEW.project_id, NEW.init_adapter); END IF;
    END IF;
    RETURN NULL; END $$`,
  `CREATE TRIGGER job_blob_refs_new AFTER INSERT ON "job"
    FOR EACH ROW WHEN (NEW.init_adapter <> '[]') EXECUTE FUNCTION job_blob_refs()`,
  `CREATE TRIGGER job_blob_refs_changed AFTER UPDATE OF state, init_adapter ON "job"
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state AND OLD.init_adapter <> '[]'
      OR OLD.init_adapter IS DISTINCT FROM NEW.init_adapter) EXECUTE FUNCTION job_blob_refs()`,
  `CREATE TRIGGER job_blob_refs_gone AFTER DELETE ON "job"
    FOR EACH ROW WHEN (OLD.init_adapter <> '[]') EXECUTE FUNCTION job_blob_refs()`,

  // References of the parts of an upload.
  `CREATE FUNCTION upload_part_blob_refs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'DELETE' THEN PERFORM forget_blobs('part', OLD.id);
    ELSE
      INSERT INTO blob_ref VALUES (NEW.sha256, 'part', NEW.id, (SELECT project_id FROM upload WHERE id = NEW.upload_id), NEW.size);
    END IF;
    RETURN NULL; END $$`,
  `CREATE TRIGGER upload_part_blob_refs AFTER INSERT OR DELETE ON "upload_part"
    FOR EACH ROW EXECUTE FUNCTION upload_part_blob_refs()`,

  // Records when a row last stopped referencing a blob. Backups do not need parts of uploads. Rows are locked in the
  // order of their keys to avoid deadlocks.
  `CREATE FUNCTION note_dropped_blobs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         UPDATE blob SET dropped_at = clock_timestamp() FROM (
           SELECT sha256 FROM blob WHERE sha256 IN (SELECT sha256 FROM gone WHERE kind <> 'part') ORDER BY sha256 FOR UPDATE
         ) AS dropped WHERE blob.sha256 = dropped.sha256;
         RETURN NULL; END $$`,
  `CREATE TRIGGER note_dropped_blobs AFTER DELETE ON "blob_ref" REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION note_dropped_blobs()`,

  // A project's storage counts each content once, regardless of how many rows reference it. Every change is
  // a separate row, and retention sums them, so that transactions do not wait for each other. Rows are
  // locked in the order of their keys here, too. `xmax = 0` means that the row is new.
  `CREATE FUNCTION count_named_blobs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
     WITH counted AS (
       INSERT INTO project_blob AS known (project_id, sha256, size, refs)
       SELECT project_id, sha256, max(size), count(*) FROM came WHERE project_id IS NOT NULL
       GROUP BY project_id, sha256 ORDER BY project_id, sha256
       ON CONFLICT (project_id, sha256) DO UPDATE SET refs = known.refs + excluded.refs
       RETURNING project_id, size, xmax = 0 AS is_new
     )
     INSERT INTO storage_change (project_id, bytes)
     SELECT project_id, sum(size) FROM counted WHERE is_new GROUP BY project_id HAVING sum(size) > 0;
     RETURN NULL; END $$`,
  `CREATE TRIGGER count_named_blobs AFTER INSERT ON "blob_ref" REFERENCING NEW TABLE AS came
    FOR EACH STATEMENT EXECUTE FUNCTION count_named_blobs()`,
  `CREATE FUNCTION count_forgotten_blobs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
     PERFORM 1 FROM project_blob WHERE (project_id, sha256) IN (SELECT project_id, sha256 FROM gone)
       ORDER BY project_id, sha256 FOR UPDATE;
     UPDATE project_blob AS known SET refs = known.refs - lost.refs
     FROM (SELECT project_id, sha256, count(*) AS refs FROM gone GROUP BY project_id, sha256) AS lost
     WHERE known.project_id = lost.project_id AND known.sha256 = lost.sha256;
     WITH removed AS (
       DELETE FROM project_blob WHERE refs <= 0 AND (project_id, sha256) IN (SELECT project_id, sha256 FROM gone)
       RETURNING project_id, size
     )
     INSERT INTO storage_change (project_id, bytes)
     SELECT project_id, -sum(size) FROM removed GROUP BY project_id HAVING sum(size) > 0;
     RETURN NULL; END $$`,
  // Triggers of a table fire in the order of their names. This one locks rows of project_blob after
  // note_dropped_blobs has locked rows of blob, which is the order in which uploads lock them.
  `CREATE TRIGGER project_storage_forgotten AFTER DELETE ON "blob_ref" REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION count_forgotten_blobs()`,
];
