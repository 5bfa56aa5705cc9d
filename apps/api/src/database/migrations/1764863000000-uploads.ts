import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Files that arrive in parts (OpenAI's Uploads). Each part is a blob until the upload is complete or given up. */
export class Uploads1764863000000 implements MigrationInterface {
  readonly name = 'Uploads1764863000000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of UP) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await runner.query(statement);
  }
}

const UP = [
  `CREATE TABLE "upload" ("id" text NOT NULL,
    "project_id" text NOT NULL,
    "filename" text NOT NULL,
    "purpose" text NOT NULL,
    "bytes" bigint NOT NULL,
    "columns" jsonb NOT NULL DEFAULT '{}',
    "lifetime_seconds" integer,
    "status" text NOT NULL DEFAULT 'pending',
    "file_id" text,
    "created_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    "expires_at" TIMESTAMP WITH TIME ZONE NOT NULL, CONSTRAINT "upload_pk" PRIMARY KEY ("id"))`,
  `CREATE INDEX "upload_pending" ON "upload" ("expires_at") WHERE status = 'pending'`,
  `CREATE TABLE "upload_part" ("id" text NOT NULL,
    "upload_id" text NOT NULL,
    "sha256" text NOT NULL,
    "size" bigint NOT NULL,
    "created_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(), CONSTRAINT "upload_part_pk" PRIMARY KEY ("id"))`,
  `CREATE INDEX "upload_part_upload" ON "upload_part" ("upload_id", "created_at")`,
  `CREATE FUNCTION upload_part_blob_refs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'DELETE' THEN PERFORM forget_blobs('part', OLD.id);
    ELSE
      INSERT INTO blob_ref VALUES (NEW.sha256, 'part', NEW.id, (SELECT project_id FROM upload WHERE id = NEW.upload_id), NEW.size);
    END IF;
    RETURN NULL; END $$`,
  `CREATE TRIGGER upload_part_blob_refs AFTER INSERT OR DELETE ON "upload_part"
    FOR EACH ROW EXECUTE FUNCTION upload_part_blob_refs()`,
];

const DOWN = [
  `DROP TABLE "upload_part"`,
  `DROP FUNCTION upload_part_blob_refs()`,
  `DROP TABLE "upload"`,
];
