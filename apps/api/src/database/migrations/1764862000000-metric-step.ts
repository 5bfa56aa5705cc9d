import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A curve is read by its steps: a job of a million of them is neither sorted nor read whole for a page. */
export class MetricStep1764862000000 implements MigrationInterface {
  readonly name = 'MetricStep1764862000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE INDEX "metric_step" ON "metric" ("job_id", "step", "attempt")`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX "metric_step"`);
  }
}
