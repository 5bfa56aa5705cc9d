import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * How many jobs a worker runs, by a look of its own at what is committed: that is what VOLATILE means. Who updates a
 * worker's row by it, and had to wait for somebody who gave the worker a job, counts anew with the row as it is then;
 * a subquery would count the jobs of before.
 */
export class LeasesHeld1764900000000 implements MigrationInterface {
  readonly name = 'LeasesHeld1764900000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE FUNCTION leases_held(of text) RETURNS bigint LANGUAGE sql VOLATILE AS
         $$ SELECT count(*) FROM job WHERE lease_owner = of AND state = 'running' $$`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP FUNCTION leases_held(text)');
  }
}
