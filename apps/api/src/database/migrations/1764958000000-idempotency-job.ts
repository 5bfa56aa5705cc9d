import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The calls that made a job go with it, without a look at all of them. */
export class IdempotencyJob1764958000000 implements MigrationInterface {
  readonly name = 'IdempotencyJob1764958000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE INDEX "idempotency_job" ON "idempotency" ("job_id")`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX "idempotency_job"`);
  }
}
