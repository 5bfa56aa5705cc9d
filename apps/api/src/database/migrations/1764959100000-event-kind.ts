import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Answers to sample prompts and the loss ledger are found without reading the rest of a job's history. */
export class EventKind1764959100000 implements MigrationInterface {
  readonly name = 'EventKind1764959100000';

  async up(runner: QueryRunner): Promise<void> {
    // It reads the whole table, whatever time that takes, and events wait meanwhile. Whoever must not wait makes the index
    // before (docs/deployment.md), and it is taken as it is.
    await runner.query(`SET LOCAL statement_timeout = 0`);
    await runner.query(
      `CREATE INDEX IF NOT EXISTS "event_kind" ON "event" ("job_id", "kind", "number") WHERE kind IN ('sample', 'ledger')`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX "event_kind"`);
  }
}
