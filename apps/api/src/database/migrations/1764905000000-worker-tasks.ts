import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Which vectors and labels a worker's build makes, and of which task an answer is: only who can is asked. */
export class WorkerTasks1764905000000 implements MigrationInterface {
  readonly name = 'WorkerTasks1764905000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "worker" ADD "tasks" jsonb NOT NULL DEFAULT '[]'`);
    await runner.query(`ALTER TABLE "answer" ADD "task" text`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "answer" DROP COLUMN "task"`);
    await runner.query(`ALTER TABLE "worker" DROP COLUMN "tasks"`);
  }
}
