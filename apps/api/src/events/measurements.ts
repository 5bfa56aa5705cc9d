import { Injectable } from '@nestjs/common';
import { lineOf, type JobBest, type PayloadOf } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { jsonbArray } from '../database/jsonb.js';
import { confusionText, majorityOf } from '../history/confusions.js';
import { openAiValues, valueOf, valuesText } from '../history/metric-values.js';
import type { NewEvent } from '../lifecycle/event-log.js';
import { ENDING_PHASE, Rungs } from '../lifecycle/rungs.js';
import { Usage } from '../lifecycle/usage.js';
import type { Progress } from './progress.js';
import { Replay } from './replay.js';
import type { Reported } from './reported.js';

type Step = PayloadOf<'step'>;
type Evaluated = PayloadOf<'evaluated'>;

/** Stores the metrics of steps and evaluations in the tables `metric` and `evaluation`, with their events. */
@Injectable()
export class Measurements {
  constructor(
    private readonly database: Database,
    private readonly replay: Replay,
    private readonly usage: Usage,
    private readonly rungs: Rungs,
  ) {}

  /** Stores all steps of a batch in one statement, which checks the attempt itself. Returns the events about them. */
  async write(manager: EntityManager, job: Job, progress: Progress): Promise<NewEvent[]> {
    const { steps } = progress;
    if (steps.length === 0) return [];
    const column = (read: (step: Step) => number): number[] => steps.map(read);
    const taken = await this.database.query<{ step: number; tokens: number; seconds: number }>(
      `INSERT INTO metric (job_id, attempt, step, seconds, tokens, rss_bytes, "values")
       SELECT job.id, job.attempt, s.* FROM job,
         ROWS FROM (unnest($3::int[], $4::float8[], $5::int[], $6::bigint[]), jsonb_array_elements($7)) AS s
       WHERE job.id = $1 AND job.attempt = $2 AND job.state = 'running'
       ON CONFLICT DO NOTHING RETURNING step, tokens, seconds`,
      [
        job.id,
        job.attempt,
        column((s) => s.step),
        column((s) => s.seconds),
        column((s) => s.tokens),
        column((s) => s.rss_bytes),
        jsonbArray(steps.map((s) => valuesText(s.metrics))),
      ],
      manager,
    );
    // Steps repeated after a resume are not charged to the project.
    const first = taken.filter((step) => !progress.isRepeated(step));
    await this.usage.add(
      manager,
      job.project_id,
      first.reduce((sum, { tokens }) => sum + tokens, 0),
    );
    if (taken.length > 0)
      await this.usage.record(manager, job.project_id, {
        kind: 'training',
        model: job.base_id,
        requests: first.length,
        inputTokens: first.reduce((sum, { tokens }) => sum + tokens, 0),
        outputTokens: 0,
        // Repeated steps took time again.
        seconds: taken.reduce((sum, { seconds }) => sum + seconds, 0),
      });
    return this.replay.compare(
      manager,
      job,
      steps.filter((step) => progress.isRepeated(step)),
    );
  }

  async evaluated(fact: Evaluated, { manager, job, progress, at }: Reported): Promise<NewEvent[]> {
    const confusion = confusionText(fact.confusion, job.spec);
    await this.database.query(
      `INSERT INTO evaluation (job_id, attempt, step, "full", "values", confusion)
       SELECT id, attempt, $3, $4, $5, $6 FROM job WHERE id = $1 AND attempt = $2 AND state = 'running'
       ON CONFLICT (job_id, attempt, step) DO UPDATE
       SET "full" = true, "values" = evaluation."values" || excluded."values", confusion = excluded.confusion
       WHERE excluded."full" AND NOT evaluation."full"`,
      [job.id, job.attempt, fact.step, fact.full, valuesText(fact.metrics), confusion],
      manager,
    );
    const loss = valueOf(fact.metrics, 'loss');
    progress.evaluated(fact.step, loss, accuracyOf(fact, confusion));
    const rung = await this.rungs.reached(manager, job, {
      metric: 'valid_loss',
      step: fact.step,
      score: loss,
    });
    if (rung?.endsEarly) progress.phase = ENDING_PHASE;
    const decided = rung ? [{ ...rung.event, at }] : [];
    const [before] = await this.database.query(
      `SELECT 1 FROM evaluation WHERE job_id = $1 AND attempt < $2 AND step = $3 AND ("full" OR NOT $4) LIMIT 1`,
      [job.id, job.attempt, fact.step, fact.full],
      manager,
    );
    if (before) return decided;
    const { task } = job.spec;
    return [
      {
        type: 'metrics',
        kind: 'evaluation',
        message: lineOf({ kind: 'evaluated', payload: fact }, progress.totalSteps),
        data: {
          step: fact.step,
          total_steps: progress.totalSteps,
          ...openAiValues(task, 'valid', fact.metrics),
          ...(fact.full ? openAiValues(task, 'full_valid', fact.metrics) : {}),
        },
        at,
      },
      ...decided,
    ];
  }
}

/** Returns the accuracy and that of always predicting the most frequent label. Empty for tasks without labels. */
function accuracyOf(
  { metrics, confusion }: Evaluated,
  stored: string | null,
): Pick<JobBest, 'accuracy' | 'majority_accuracy'> {
  const accuracy = valueOf(metrics, 'accuracy');
  const majority = stored === null || !confusion ? null : majorityOf(confusion.classes);
  if (majority === null || !Number.isFinite(accuracy)) return {};
  return { accuracy, majority_accuracy: majority };
}
