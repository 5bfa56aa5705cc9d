import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A request does one thing to one target once, however often its transaction ran. */
export class AuditOnce1764820000000 implements MigrationInterface {
  readonly name = 'AuditOnce1764820000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      'CREATE UNIQUE INDEX "audit_once" ON "audit" ("request_id", "action", "target")',
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX "audit_once"');
  }
}
