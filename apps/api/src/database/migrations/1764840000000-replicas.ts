import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What several API processes share: the key and the certificates of their relay. */
export class Replicas1764840000000 implements MigrationInterface {
  readonly name = 'Replicas1764840000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE "installation" ADD "relay_key" text');
    await runner.query('ALTER TABLE "gateway" ADD "certificate" text');
    await runner.query(`CREATE INDEX "job_lease" ON "job" ("lease_owner") WHERE state = 'running'`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX "job_lease"');
    await runner.query('ALTER TABLE "gateway" DROP COLUMN "certificate"');
    await runner.query('ALTER TABLE "installation" DROP COLUMN "relay_key"');
  }
}
