import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What of an answer an API process hands on to the workers whose streams end at it. One of an older build writes none. */
export class GatewayAbilities1764959000000 implements MigrationInterface {
  readonly name = 'GatewayAbilities1764959000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "gateway" ADD "abilities" jsonb NOT NULL DEFAULT '[]'`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "gateway" DROP COLUMN "abilities"`);
  }
}
