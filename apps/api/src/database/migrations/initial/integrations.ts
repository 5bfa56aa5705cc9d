export const INTEGRATIONS = [
  `CREATE TABLE "integration" (
    "project_id" text NOT NULL,
    "type" text NOT NULL,
    "url" text NOT NULL,
    "username" text,
    "secret" text,
    "project" text NOT NULL,
    "entity" text,
    "every_job" boolean DEFAULT false NOT NULL,
    "failures" integer DEFAULT 0 NOT NULL,
    "next_at" timestamptz DEFAULT now() NOT NULL,
    "failing_since" timestamptz,
    "last_error" text,
    "sent_at" timestamptz,
    "owner" text,
    "owner_until" timestamptz,
    "created_at" timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT "integration_pk" PRIMARY KEY ("project_id", "type")
  )`,

  `CREATE TABLE "integration_run" (
    "job_id" text NOT NULL,
    "type" text NOT NULL,
    "project_id" text NOT NULL,
    "settings" jsonb NOT NULL,
    "status" text DEFAULT 'open' NOT NULL,
    "cursor" integer DEFAULT 0 NOT NULL,
    "remote" jsonb,
    "url" text,
    "error" text,
    "failures" integer DEFAULT 0 NOT NULL,
    "next_at" timestamptz DEFAULT now() NOT NULL,
    "sent_at" timestamptz,
    "created_at" timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT "integration_run_pk" PRIMARY KEY ("job_id", "type")
  )`,
  `CREATE INDEX "integration_run_open" ON "integration_run" ("project_id", "type", "next_at") WHERE status = 'open'`,
];
