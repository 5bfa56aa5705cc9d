import type { MigrationInterface, QueryRunner } from 'typeorm';

/** How many jobs of a project are queued is asked at each creation, and the others' need not be passed over for it. */
export class JobQueued1764890000000 implements MigrationInterface {
  readonly name = 'JobQueued1764890000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE INDEX "job_queued" ON "job" ("project_id") WHERE state = 'queued'`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX "job_queued"');
  }
}
