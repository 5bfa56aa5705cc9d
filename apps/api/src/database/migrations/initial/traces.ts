export const TRACES = [
  `CREATE TABLE "trace_export" (
    "job_id" text NOT NULL,
    "status" text DEFAULT 'open' NOT NULL,
    "cursor" integer DEFAULT 0 NOT NULL,
    "error" text,
    "owner" text,
    "owner_until" timestamptz,
    "created_at" timestamptz DEFAULT now() NOT NULL,
    "failures" integer DEFAULT 0 NOT NULL,
    "next_at" timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT "trace_export_pk" PRIMARY KEY ("job_id")
  )`,
  `CREATE INDEX "trace_export_open" ON "trace_export" ("created_at") WHERE status = 'open'`,
];
