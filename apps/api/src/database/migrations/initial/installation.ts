export const INSTALLATION = [
  `CREATE TABLE "installation" (
    "id" integer NOT NULL,
    "system_identifier" text NOT NULL,
    "timeline" integer NOT NULL,
    "mark" bigint DEFAULT 0 NOT NULL,
    "relay_key" text,
    "blob_marker" text,
    "expire_after" timestamptz DEFAULT now() NOT NULL,
    "watched_at" timestamptz DEFAULT '-infinity' NOT NULL,
    CONSTRAINT "installation_pk" PRIMARY KEY ("id")
  )`,
];
