import { Injectable } from '@nestjs/common';
import type { EvalItemResult, EvalOutputItemObject } from '@graft/contracts';
import { Database } from '../database/database.js';
import type { EvalRun } from '../database/entities/evals.js';

type Texts = Pick<EvalRun, 'items_deleted_at' | 'samples_deleted_at'>;

/** Runs handled by one call, and items erased by one statement. */
const RUNS = 20;
const ITEMS = 1000;

/**
 * SQL for results without text: verdicts and scores remain, but answers of grading models and quotes in errors are
 * removed.
 */
const BARE = `(SELECT COALESCE(jsonb_agg(
    CASE WHEN result ? 'error' THEN jsonb_set(result, '{error,message}', '""') ELSE result END
      || '{"sample": null}' ORDER BY place), '[]')
  FROM jsonb_array_elements(results) WITH ORDINALITY AS one(result, place))`;

/**
 * Erases the items and samples of eval runs whose file, or whose model's job, was deleted. Scores and counts remain.
 * Unfinished runs need the texts and are erased when they end. Responses never contain texts that are still to be
 * erased.
 */
@Injectable()
export class DeletedTexts {
  constructor(private readonly database: Database) {}

  /** Erases one batch. Returns the number of runs that were erased and whether there may be more. */
  async batch(): Promise<{ deleted: number; more: boolean }> {
    await this.markOrphanedRuns();
    const runs = await this.database.query<{ id: string }>(
      `SELECT id FROM eval_run WHERE to_erase AND status NOT IN ('queued', 'in_progress') ORDER BY id LIMIT ${RUNS}`,
    );
    for (const { id } of runs) await this.erase(id);
    return { deleted: runs.length, more: runs.length === RUNS };
  }

  /**
   * Marks runs that were created while their file was being deleted, which the deletion could not see. Runs of
   * checkpoints have the items of another run and lose them with it.
   */
  private async markOrphanedRuns(): Promise<void> {
    await this.database.query(
      `UPDATE eval_run SET items_deleted_at = now(), samples_deleted_at = COALESCE(samples_deleted_at, now()), to_erase = true
       WHERE created_at > now() - interval '1 hour' AND items_deleted_at IS NULL AND source_file <> '' AND job_id IS NULL
         AND NOT EXISTS (SELECT 1 FROM file WHERE file.id = source_file)`,
    );
  }

  private async erase(id: string): Promise<void> {
    const [last] = await this.database.query<{ number: number | null }>(
      'SELECT max(number) AS number FROM eval_item WHERE run_id = $1',
      [id],
    );
    for (let from = 0; from <= (last?.number ?? -1); from += ITEMS)
      await this.database.query(
        `UPDATE eval_item SET item = CASE WHEN run.items_deleted_at IS NULL THEN item ELSE '{}' END,
           sample = NULL, results = ${BARE}
         FROM eval_run AS run WHERE run.id = $1 AND run_id = $1 AND number >= $2 AND number < $3`,
        [id, from, from + ITEMS],
      );
    // Not if the items were deleted meanwhile, when only the samples were deleted before.
    await this.database.query(
      `UPDATE eval_run SET to_erase = false WHERE id = $1 AND (items_deleted_at IS NULL OR NOT EXISTS (
         SELECT 1 FROM eval_item WHERE run_id = $1 AND item <> '{}'))`,
      [id],
    );
  }
}

/** Returns an item without its deleted texts, whether they have been erased yet or not. */
export function withoutTexts(item: EvalOutputItemObject, of: Texts): EvalOutputItemObject {
  if (!of.samples_deleted_at) return item;
  return {
    ...item,
    datasource_item: of.items_deleted_at ? {} : item.datasource_item,
    sample: null,
    results: item.results.map(bare),
  };
}

const bare = ({ error, ...result }: EvalItemResult): EvalItemResult => ({
  ...result,
  sample: null,
  ...(error && { error: { ...error, message: '' } }),
});
