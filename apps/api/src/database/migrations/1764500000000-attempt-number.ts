import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Tables that name an attempt by its number, which was called "epoch" as an epoch of data is. */
const TABLES = ['job', 'outbox', 'metric', 'evaluation', 'checkpoint', 'artifact'] as const;

export class AttemptNumber1764500000000 implements MigrationInterface {
  readonly name = 'AttemptNumber1764500000000';

  async up(runner: QueryRunner): Promise<void> {
    for (const table of TABLES)
      await runner.query(`ALTER TABLE "${table}" RENAME COLUMN "epoch" TO "attempt"`);
    await runner.query(`ALTER TABLE "attempt" RENAME COLUMN "epoch" TO "number"`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "attempt" RENAME COLUMN "number" TO "epoch"`);
    for (const table of TABLES)
      await runner.query(`ALTER TABLE "${table}" RENAME COLUMN "attempt" TO "epoch"`);
  }
}
