import type { MigrationInterface, QueryRunner } from 'typeorm';

/** When leases may be taken away again after an outage, said once for every API process. */
export class ExpireAfter1764870000000 implements MigrationInterface {
  readonly name = 'ExpireAfter1764870000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `ALTER TABLE "installation" ADD "expire_after" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now()`,
    );
    await runner.query(
      `ALTER TABLE "installation" ADD "watched_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT '-infinity'`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "installation" DROP COLUMN "watched_at"`);
    await runner.query(`ALTER TABLE "installation" DROP COLUMN "expire_after"`);
  }
}
