import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The step whose weights a job's model holds: until now always the last. */
export class PublishedStep1764961000000 implements MigrationInterface {
  readonly name = 'PublishedStep1764961000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "job" ADD "published_step" integer`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "job" DROP COLUMN "published_step"`);
  }
}
