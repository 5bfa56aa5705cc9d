import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Tokens that projects trained and generated, by the day. */
export class Usage1764831000000 implements MigrationInterface {
  readonly name = 'Usage1764831000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE "usage" ("project_id" text NOT NULL,
      "day" date NOT NULL,
      "part" integer NOT NULL,
      "tokens" bigint NOT NULL, CONSTRAINT "usage_pk" PRIMARY KEY ("project_id", "day", "part"))`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP TABLE "usage"`);
  }
}
