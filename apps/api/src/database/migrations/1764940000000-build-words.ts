import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What a job needs of a worker's build, and what a worker's build lacks. */
export class BuildWords1764940000000 implements MigrationInterface {
  readonly name = 'BuildWords1764940000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "job" ADD "words" text[] NOT NULL DEFAULT '{}'`);
    await runner.query(`ALTER TABLE "worker" ADD "lacks" text[] NOT NULL DEFAULT '{}'`);
    await runner.query(`ALTER TABLE "worker" ADD "lacks_session" text`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "worker" DROP COLUMN "lacks_session"`);
    await runner.query(`ALTER TABLE "worker" DROP COLUMN "lacks"`);
    await runner.query(`ALTER TABLE "job" DROP COLUMN "words"`);
  }
}
