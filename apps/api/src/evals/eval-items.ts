import type { EvalRunCounts } from '@graft/contracts';
import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';
import type { EvalItem } from '../database/entities/evals.js';
import type { ItemBatch } from './item-batches.js';

/** Rows of the items of eval runs. */
@Injectable()
export class EvalItems {
  constructor(private readonly database: Database) {}

  async insert(
    manager: EntityManager,
    runId: string,
    batches: readonly ItemBatch[],
  ): Promise<void> {
    let from = 0;
    for (const { count, json } of batches) {
      await this.database.query(
        `INSERT INTO eval_item (run_id, number, item, sample)
         SELECT $1, $2 + ordinality - 1, line->'item', NULLIF(line->'sample', 'null')
         FROM jsonb_array_elements($3::jsonb) WITH ORDINALITY AS one(line, ordinality) ON CONFLICT DO NOTHING`,
        [runId, from, new TextDecoder().decode(json)],
        manager,
      );
      from += count;
    }
  }

  /** Returns the next ungraded items after a number. */
  queued(runId: string, after: number, limit: number): Promise<EvalItem[]> {
    return this.database.query<EvalItem>(
      `SELECT * FROM eval_item WHERE run_id = $1 AND number > $2 AND status = 'queued' ORDER BY number LIMIT $3`,
      [runId, after, limit],
    );
  }

  async done(
    runId: string,
    page: {
      readonly after: number | null;
      readonly limit: number;
      readonly status: string | null;
      readonly descending: boolean;
    },
  ): Promise<EvalItem[]> {
    const [compared, order] = page.descending ? ['<', 'DESC'] : ['>', 'ASC'];
    return this.database.query<EvalItem>(
      `SELECT * FROM eval_item WHERE run_id = $1 AND status <> 'queued' AND ($2::int IS NULL OR number ${compared} $2)
         AND ($3::text IS NULL OR status = $3) ORDER BY number ${order} LIMIT $4`,
      [runId, page.after, page.status, page.limit],
    );
  }

  async one(runId: string, number: number): Promise<EvalItem | null> {
    const [item] = await this.database.query<EvalItem>(
      `SELECT * FROM eval_item WHERE run_id = $1 AND number = $2 AND status <> 'queued'`,
      [runId, number],
    );
    return item ?? null;
  }

  /** Returns the counts of several runs. Each run is given with the names of its criteria. */
  async counts(
    runs: readonly { readonly id: string; readonly criteria: readonly string[] }[],
  ): Promise<Map<string, EvalRunCounts>> {
    const ids = [runs.map(({ id }) => id)];
    const totals = await this.database.query<Row & Record<'total' | Outcome, number>>(
      `SELECT run_id, count(*)::int AS total, count(*) FILTER (WHERE status = 'pass')::int AS passed,
         count(*) FILTER (WHERE status = 'fail')::int AS failed, count(*) FILTER (WHERE status = 'error')::int AS errored
       FROM eval_item WHERE run_id = ANY($1) GROUP BY run_id`,
      ids,
    );
    const criteria = await this.database.query<
      Row & { name: string; passed: number; failed: number }
    >(
      `SELECT run_id, result->>'name' AS name, count(*) FILTER (WHERE (result->>'passed')::boolean)::int AS passed,
         count(*) FILTER (WHERE NOT (result->>'passed')::boolean)::int AS failed
       FROM eval_item, jsonb_array_elements(results) AS result WHERE run_id = ANY($1) AND status <> 'queued' GROUP BY run_id, name`,
      ids,
    );
    const usage = await this.database.query<Row & Record<string, string | number>>(
      `SELECT run_id, key AS model_name, sum((value->>'invocation_count')::bigint)::float8 AS invocation_count,
         sum((value->>'prompt_tokens')::bigint)::float8 AS prompt_tokens,
         sum((value->>'completion_tokens')::bigint)::float8 AS completion_tokens,
         sum((value->>'total_tokens')::bigint)::float8 AS total_tokens, 0 AS cached_tokens
       FROM eval_item, jsonb_each(usage) WHERE run_id = ANY($1) GROUP BY run_id, key ORDER BY key`,
      ids,
    );
    const of = ({ id, criteria: names }: (typeof runs)[number]): EvalRunCounts => {
      const { total = 0, passed = 0, failed = 0, errored = 0 } = totals.find(is(id)) ?? {};
      const named = criteria.filter(is(id));
      return {
        result_counts: { total, passed, failed, errored },
        per_testing_criteria_results: names.map((name) => {
          const found = named.find((one) => one.name === name);
          return {
            testing_criteria: name,
            passed: found?.passed ?? 0,
            failed: found?.failed ?? 0,
          };
        }),
        per_model_usage: usage.filter(is(id)).map(({ run_id: _, ...numbers }) => numbers),
      };
    };
    return new Map(runs.map((run) => [run.id, of(run)]));
  }
}

type Outcome = 'passed' | 'failed' | 'errored';
interface Row {
  readonly run_id: string;
}
const is =
  (id: string) =>
  ({ run_id: of }: Row): boolean =>
    of === id;
