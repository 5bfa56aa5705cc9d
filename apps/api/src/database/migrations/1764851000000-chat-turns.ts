import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Whose chat gets the next room. */
export class ChatTurns1764851000000 implements MigrationInterface {
  readonly name = 'ChatTurns1764851000000';

  async up(runner: QueryRunner): Promise<void> {
    // Unlogged: a crash of the server empties it, and every project begins anew.
    await runner.query(
      `CREATE UNLOGGED TABLE "chat_turn" ("project_id" text NOT NULL,
        "start" double precision NOT NULL,
        "finish" double precision NOT NULL, CONSTRAINT "chat_turn_pk" PRIMARY KEY ("project_id"))`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE "chat_turn"');
  }
}
