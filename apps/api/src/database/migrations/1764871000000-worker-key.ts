import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A worker keeps its id over restarts by a key of its own. */
export class WorkerKey1764871000000 implements MigrationInterface {
  readonly name = 'WorkerKey1764871000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "worker" ADD "key_hash" text`);
    await runner.query(`CREATE UNIQUE INDEX "worker_key" ON "worker" ("key_hash")`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX "worker_key"`);
    await runner.query(`ALTER TABLE "worker" DROP COLUMN "key_hash"`);
  }
}
