import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Of which session a worker's tasks are: an API process that does not know them begins another, and leaves them. */
export class TasksSession1764921000000 implements MigrationInterface {
  readonly name = 'TasksSession1764921000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "worker" ADD "tasks_session" text`);
    await runner.query(`UPDATE "worker" SET "tasks_session" = "session_id"`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "worker" DROP COLUMN "tasks_session"`);
  }
}
