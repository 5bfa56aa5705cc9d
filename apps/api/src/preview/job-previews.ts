import { Injectable } from '@nestjs/common';
import { DomainError, type JobPreviewObject } from '@graft/contracts';
import type { Principal } from '../auth/principal.js';
import { trainedBy } from '../catalog/plugins.js';
import { resolvedOptions, resolvedNumbers } from '../history/job-object.js';
import { placeFields, QueueForecasts } from '../history/queue-forecasts.js';
import { Speeds, timeRange } from '../history/speeds.js';
import { DEFAULT_POOL } from '../queue/pool.js';
import { JobPlans, plannedTokens } from './job-plans.js';

const FEW_STEPS = 50;
const FEW_EXAMPLES = 10;
const LONG_SECONDS = 24 * 3600;

/** Returns what a create call would do, without creating anything. */
@Injectable()
export class JobPreviews {
  constructor(
    private readonly plans: JobPlans,
    private readonly speeds: Speeds,
    private readonly forecasts: QueueForecasts,
  ) {}

  async of(caller: Principal, body: unknown, gone: AbortSignal): Promise<JobPreviewObject> {
    const plan = await this.plans.of(caller, body, gone);
    const { request, base, spec, priority, footprint, data, memory, unread, neverJoined } = plan;
    if (!data) {
      const message = `the data could not be checked: ${unread}. The job can still be created`;
      throw new DomainError('unavailable', message, 'training_file', 5);
    }
    const { training, validation } = data;
    const { steps, tokens } = plannedTokens(spec, training);
    const pool = request.graft?.pool ?? DEFAULT_POOL;
    const speed =
      (await this.speeds.ofSimilar(base.base.id, pool, spec)) ??
      (footprint && (await this.speeds.ofBenchmark(pool, spec, footprint.totalParameters)));
    const seconds = speed && tokens / speed.tokensPerSecond;
    const place = await this.forecasts.forHypothetical(pool, {
      project: caller.projectId,
      priority,
      base: base.base.id,
      tokens,
    });
    return {
      object: 'graft.job_preview',
      model: request.model,
      hyperparameters: resolvedNumbers(request, spec),
      peft: spec.peft,
      graft: resolvedOptions(spec),
      examples: training.examples,
      steps,
      tokens,
      seconds,
      seconds_from: speed?.from ?? null,
      seconds_range: speed && seconds !== null ? timeRange(seconds, speed) : null,
      estimate_source: speed?.source ?? null,
      ...placeFields(place),
      trainable_parameters: footprint && trainedBy(spec.optimizer, footprint),
      total_parameters: footprint?.totalParameters ?? null,
      linear_modules: footprint?.linears ?? null,
      memory,
      training,
      validation,
      warnings: [
        ...(neverJoined === null ? [] : [neverJoined]),
        ...plan.warnings.map(({ message }) => message),
        ...warningsOf(training.examples, steps, seconds, request.graft?.max_steps ?? null),
        ...training.warnings,
        ...(validation?.warnings ?? []),
      ],
    };
  }
}

function warningsOf(
  examples: number,
  steps: number,
  seconds: number | null,
  maxSteps: number | null,
): string[] {
  const warnings: string[] = [];
  if (examples < FEW_EXAMPLES)
    warnings.push(
      `Only ${examples} example${examples === 1 ? '' : 's'}; at least ${FEW_EXAMPLES} are recommended.`,
    );
  if (steps < FEW_STEPS) {
    const remedy =
      steps === maxSteps
        ? 'raise graft.max_steps'
        : 'add examples, lower batch_size or raise n_epochs';
    warnings.push(`Only ${steps} step${steps === 1 ? '' : 's'}; this is often too few: ${remedy}.`);
  }
  if (seconds !== null && seconds > LONG_SECONDS)
    warnings.push(`This will take about ${(seconds / LONG_SECONDS).toFixed(1)} days.`);
  return warnings;
}
