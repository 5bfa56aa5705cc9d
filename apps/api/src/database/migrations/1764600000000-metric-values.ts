import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Numbers of steps and evaluations by name, in one column; what an event is, for programs. A step's numbers stood a
 * second time in its event. `checkpoint.metrics` was for an API of the release before.
 */
export class MetricValues1764600000000 implements MigrationInterface {
  readonly name = 'MetricValues1764600000000';

  async up(runner: QueryRunner): Promise<void> {
    // Tables of long runs are rewritten, once each.
    await runner.query(`SET LOCAL statement_timeout = 0`);
    await runner.query(`ALTER TABLE "metric" ALTER COLUMN "loss" TYPE jsonb USING jsonb_build_object('loss', loss,
      'accuracy', accuracy, 'supervised_tokens', supervised_tokens, 'learning_rate', learning_rate, 'grad_norm', grad_norm)`);
    await runner.query(`ALTER TABLE "metric" RENAME COLUMN "loss" TO "values"`);
    await runner.query(`ALTER TABLE "metric" DROP COLUMN "accuracy", DROP COLUMN "supervised_tokens",
      DROP COLUMN "learning_rate", DROP COLUMN "grad_norm"`);
    await runner.query(`ALTER TABLE "evaluation" ALTER COLUMN "loss" TYPE jsonb USING jsonb_build_object('loss', loss,
      'accuracy', accuracy, 'supervised_tokens', tokens)`);
    await runner.query(`ALTER TABLE "evaluation" RENAME COLUMN "loss" TO "values"`);
    await runner.query(`ALTER TABLE "evaluation" DROP COLUMN "accuracy", DROP COLUMN "tokens"`);
    await runner.query(`ALTER TABLE "event" ADD "kind" text`);
    await runner.query(`UPDATE "event" SET "data" = "data" - 'curve', "kind" = CASE
        WHEN "type" = 'metrics' AND "data" ? 'train_loss' THEN 'step'
        WHEN "type" = 'metrics' THEN 'evaluation'
        WHEN "message" LIKE 'Checkpoint created at step %' THEN 'checkpoint'
        ELSE 'attempt' END
      WHERE "type" = 'metrics' OR ("type" = 'message' AND ("message" LIKE 'Checkpoint created at step %'
        OR "message" LIKE 'Resumed from step % on worker %' OR "message" = 'Fine-tuning job started'))`);
    await runner.query(`ALTER TABLE "checkpoint" DROP COLUMN "metrics"`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`SET LOCAL statement_timeout = 0`);
    await runner.query(`ALTER TABLE "checkpoint" ADD "metrics" jsonb NOT NULL DEFAULT '{}'`);
    await runner.query(`UPDATE "event" SET "data" = "event"."data" || jsonb_build_object('curve', m."values" ||
        jsonb_build_object('step', m.step, 'tokens_per_second', m.tokens / NULLIF(m.seconds, 0)))
      FROM (SELECT DISTINCT ON (job_id, step) * FROM "metric" ORDER BY job_id, step, attempt DESC) m
      WHERE "event"."kind" = 'step' AND m.job_id = "event".job_id AND m.step = ("event"."data"->>'step')::int`);
    await runner.query(`ALTER TABLE "event" DROP COLUMN "kind"`);
    await split(runner, 'evaluation', { accuracy: 'double precision', tokens: 'integer' });
    await split(runner, 'metric', {
      accuracy: 'double precision',
      supervised_tokens: 'integer',
      learning_rate: 'double precision',
      grad_norm: 'double precision',
    });
  }
}

/** Columns of their own again. A number that a row does not have is NaN, or 0 of tokens. */
async function split(
  runner: QueryRunner,
  table: string,
  columns: Readonly<Record<string, string>>,
): Promise<void> {
  const names = Object.keys(columns);
  const key = (name: string): string => (name === 'tokens' ? 'supervised_tokens' : name);
  await runner.query(
    `ALTER TABLE "${table}" ${names.map((name) => `ADD "${name}" ${columns[name]}`).join(', ')}`,
  );
  await runner.query(
    `UPDATE "${table}" SET ${names
      .map((name) => {
        const type = columns[name];
        const missing = type === 'integer' ? '0' : "'NaN'";
        return `"${name}" = COALESCE(("values"->>'${key(name)}')::${type}, ${missing})`;
      })
      .join(', ')}`,
  );
  await runner.query(
    `ALTER TABLE "${table}" ${names.map((name) => `ALTER COLUMN "${name}" SET NOT NULL`).join(', ')},
      ALTER COLUMN "values" TYPE double precision USING COALESCE(("values"->>'loss')::float8, 'NaN')`,
  );
  await runner.query(`ALTER TABLE "${table}" RENAME COLUMN "values" TO "loss"`);
}
