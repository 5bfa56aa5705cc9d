import { Injectable } from '@nestjs/common';
import { DomainError, type Confusion, type JobConfusionObject } from '@graft/contracts';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { responseConfusion } from '../history/confusions.js';
import { JobsRepository } from '../history/jobs.repository.js';

interface Evaluated {
  readonly step: number;
  readonly attempt: number;
  readonly full: boolean;
  readonly loss: number | null;
}

/** Confusion matrices of a job's evaluations. */
@Injectable()
export class JobConfusions {
  constructor(
    private readonly database: Database,
    private readonly jobs: JobsRepository,
  ) {}

  async of(
    caller: Principal,
    id: string,
    query: Record<string, unknown>,
  ): Promise<JobConfusionObject> {
    const job = await this.jobs.row(caller.projectId, id);
    // for a repeated step, the result of the last attempt
    const rows = await this.database.query<Evaluated>(
      `SELECT DISTINCT ON (step) step, attempt, "full",
         nullif("values"->>'loss', 'NaN')::float8 AS loss
       FROM evaluation WHERE job_id = $1 AND confusion IS NOT NULL ORDER BY step, attempt DESC`,
      [job.id],
    );
    const best = bestOf(rows);
    const requested = chosen(query['step'], rows, best);
    const [found] = requested
      ? await this.database.query<{ confusion: Confusion }>(
          'SELECT confusion FROM evaluation WHERE job_id = $1 AND attempt = $2 AND step = $3',
          [job.id, requested.attempt, requested.step],
        )
      : [];
    const nothing = { examples: null, majority_accuracy: null, classes: [], confused: [] };
    return {
      object: 'fine_tuning.job.confusion',
      job_id: job.id,
      steps: rows.map(({ step }) => step),
      best_step: best?.step ?? null,
      step_number: requested?.step ?? null,
      full: requested?.full ?? null,
      // the validation split is part of the training file
      examples_file: await this.existing(
        job.spec.validation_split ? job.training_file : job.validation_file,
      ),
      ...(found ? responseConfusion(found.confusion, job.spec) : nothing),
    };
  }

  /** Returns the file id unless the file was deleted. Jobs keep the ids of deleted files. */
  private async existing(file: string | null): Promise<string | null> {
    const [found] = await this.database.query('SELECT 1 FROM file WHERE id = $1', [file]);
    return found ? file : null;
  }
}

/**
 * The evaluation with the lowest loss, the first of equal ones. Prefers evaluations of the whole validation
 * data.
 */
function bestOf(rows: readonly Evaluated[]): Evaluated | null {
  const whole = rows.filter(({ full }) => full);
  const rank = ({ loss }: Evaluated): number => loss ?? Infinity;
  const among = whole.length > 0 ? whole : rows;
  return among.reduce<Evaluated | null>(
    (best, one) => (best === null || rank(one) < rank(best) ? one : best),
    null,
  );
}

function chosen(
  requested: unknown,
  rows: readonly Evaluated[],
  best: Evaluated | null,
): Evaluated | null {
  if (requested === undefined) return best;
  const found = rows.find(({ step }) => String(step) === requested);
  if (found) return found;
  const some = rows.slice(0, 20).map(({ step }) => step);
  const there =
    rows.length === 0
      ? 'no value: no evaluation has reported a confusion matrix yet'
      : `one of ${some.join(', ')}${rows.length > some.length ? ', …' : ''}`;
  throw new DomainError('invalid_value', `step: expected ${there}`, 'step');
}
