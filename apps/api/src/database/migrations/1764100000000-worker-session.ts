import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Workers have a session of their own; those that joined before must join again. */
export class WorkerSession1764100000000 implements MigrationInterface {
  readonly name = 'WorkerSession1764100000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `ALTER TABLE "worker" ADD "join_token_id" text, ADD "session_id" text, ADD "session_hash" text`,
    );
    await runner.query(`CREATE UNIQUE INDEX "worker_session" ON "worker"  ("session_id")`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(
      `ALTER TABLE "worker" DROP "join_token_id", DROP "session_id", DROP "session_hash"`,
    );
  }
}
