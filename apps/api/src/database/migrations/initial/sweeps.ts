export const SWEEPS = [
  `CREATE TABLE "sweep" (
    "id" text NOT NULL,
    "project_id" text NOT NULL,
    "request" jsonb NOT NULL,
    "search" jsonb NOT NULL,
    "model" text NOT NULL,
    "training_file" text NOT NULL,
    "suffix" text,
    "metadata" jsonb,
    "created_at" timestamptz DEFAULT now() NOT NULL,
    "cancelled_at" timestamptz,
    "gone" jsonb DEFAULT '[]' NOT NULL,
    "ended_at" timestamptz,
    "name" text NOT NULL,
    CONSTRAINT "sweep_pk" PRIMARY KEY ("id")
  )`,
  `CREATE INDEX "sweep_project" ON "sweep" ("project_id", "created_at", "id")`,

  `CREATE TABLE "sweep_rung" (
    "job_id" text NOT NULL,
    "step" integer NOT NULL,
    "sweep_id" text NOT NULL,
    "score" double precision,
    "kept" boolean NOT NULL,
    "created_at" timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT "sweep_rung_pk" PRIMARY KEY ("job_id", "step")
  )`,
  `CREATE INDEX "sweep_rung_step" ON "sweep_rung" ("sweep_id", "step")`,
];
