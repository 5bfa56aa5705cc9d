import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What the dispatch queue carries is an entry, which was called a hint. */
export class ReissuedAt1764500100000 implements MigrationInterface {
  readonly name = 'ReissuedAt1764500100000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "job" RENAME COLUMN "hint_at" TO "reissued_at"`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "job" RENAME COLUMN "reissued_at" TO "hint_at"`);
  }
}
