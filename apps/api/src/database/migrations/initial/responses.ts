export const RESPONSES = [
  `CREATE TABLE "response" (
    "id" text NOT NULL,
    "project_id" text NOT NULL,
    "response" jsonb NOT NULL,
    "input" jsonb NOT NULL,
    "bytes" bigint DEFAULT 0 NOT NULL,
    "created_at" timestamptz DEFAULT now() NOT NULL,
    "key_id" text,
    "request" jsonb,
    "owner" text,
    "owner_until" timestamptz,
    "resume_at" timestamptz,
    "losses" integer DEFAULT 0 NOT NULL,
    CONSTRAINT "response_pk" PRIMARY KEY ("id")
  )`,
  `CREATE INDEX "response_created" ON "response" ("created_at")`,
  `CREATE INDEX "response_open" ON "response" ("created_at") WHERE request IS NOT NULL`,
  `CREATE INDEX "response_project" ON "response" ("project_id")`,

  // A project's storage includes its responses.
  `CREATE FUNCTION count_response_bytes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
     NEW.bytes := pg_column_size(NEW.response) + pg_column_size(NEW.input)
       + COALESCE(pg_column_size(NEW.request), 0);
     RETURN NEW; END $$`,
  `CREATE FUNCTION store_response_bytes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
     IF TG_OP = 'DELETE' THEN
       INSERT INTO storage_change (project_id, bytes) VALUES (OLD.project_id, -OLD.bytes);
     ELSIF TG_OP = 'UPDATE' THEN
       INSERT INTO storage_change (project_id, bytes) VALUES (NEW.project_id, NEW.bytes - OLD.bytes);
     ELSE
       INSERT INTO storage_change (project_id, bytes) VALUES (NEW.project_id, NEW.bytes);
     END IF;
     RETURN NULL; END $$`,
  `CREATE TRIGGER count_response_bytes BEFORE INSERT OR UPDATE OF response, request ON "response" FOR EACH ROW
    EXECUTE FUNCTION count_response_bytes()`,
  `CREATE TRIGGER store_response_bytes AFTER INSERT OR DELETE OR UPDATE OF response, request ON "response" FOR EACH ROW
    EXECUTE FUNCTION store_response_bytes()`,
];
