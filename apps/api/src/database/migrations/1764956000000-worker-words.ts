import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What a worker's build knows, as it says, in place of what it lacks of the words of the process that it said it to. */
export class WorkerWords1764956000000 implements MigrationInterface {
  readonly name = 'WorkerWords1764956000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `ALTER TABLE "worker" DROP COLUMN "lacks", DROP COLUMN "lacks_session",
        ADD "words" jsonb NOT NULL DEFAULT '{}', ADD "build" text, ADD "words_session" text`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(
      `ALTER TABLE "worker" DROP COLUMN "words_session", DROP COLUMN "build", DROP COLUMN "words",
        ADD "lacks" text[] NOT NULL DEFAULT '{}', ADD "lacks_session" text`,
    );
  }
}
