import { Injectable } from '@nestjs/common';
import { DomainError, type JobPreviewObject, type Spec } from '@graft/contracts';
import type { Principal } from '../auth/principal.js';
import { totalSteps } from '../catalog/plugins.js';
import { echoed, resolvedNumbers } from '../jobs/job-object.js';
import { DEFAULT_POOL } from '../jobs/pool.js';
import { JobPlans } from './job-plans.js';
import { Speeds } from './speeds.js';

const FEW_STEPS = 50;
const FEW_EXAMPLES = 10;
const LONG_SECONDS = 24 * 3600;

/** Answers what a create call would do. Creates nothing. */
@Injectable()
export class JobPreviews {
  constructor(
    private readonly plans: JobPlans,
    private readonly speeds: Speeds,
  ) {}

  async of(caller: Principal, body: unknown, gone: AbortSignal): Promise<JobPreviewObject> {
    const { request, base, spec, footprint, data, unread } = await this.plans.of(
      caller,
      body,
      gone,
    );
    if (!data) {
      const message = `the data could not be looked at: ${unread}. The job can be created all the same`;
      throw new DomainError('unavailable', message, 'training_file', 5);
    }
    const { training, validation } = data;
    const steps = totalSteps(spec, training.examples);
    const tokens = tokensIn(spec, training, steps);
    const pool = request.graft?.pool ?? DEFAULT_POOL;
    const speed = await this.speeds.like(base.base.id, pool, spec);
    const seconds = speed && tokens / speed.tokensPerSecond;
    return {
      object: 'graft.job_preview',
      model: request.model,
      hyperparameters: resolvedNumbers(request, spec),
      peft: spec.peft,
      graft: echoed(spec),
      examples: training.examples,
      steps,
      tokens,
      seconds,
      seconds_from: speed?.from ?? null,
      trainable_parameters: footprint?.trainableParameters ?? null,
      total_parameters: footprint?.totalParameters ?? null,
      training,
      validation,
      warnings: [
        ...warningsOf(training.examples, steps, seconds),
        ...training.warnings,
        ...(validation?.warnings ?? []),
      ],
    };
  }
}

interface Pass {
  readonly examples: number;
  readonly tokens: number;
}

/** Tokens of all passes, or of as many examples as max_steps lets pass. */
function tokensIn(spec: Spec, { examples, tokens }: Pass, steps: number): number {
  const seen = Math.min(
    spec.n_epochs * examples,
    steps * spec.batch_size * spec.gradient_accumulation_steps,
  );
  return Math.round((tokens * seen) / Math.max(1, examples));
}

function warningsOf(examples: number, steps: number, seconds: number | null): string[] {
  const warnings: string[] = [];
  if (examples < FEW_EXAMPLES)
    warnings.push(
      `Only ${examples} example${examples === 1 ? '' : 's'}: at least ${FEW_EXAMPLES} are advised.`,
    );
  if (steps < FEW_STEPS) {
    warnings.push(
      `Only ${steps} step${steps === 1 ? '' : 's'}, which is often too few to learn from: add examples, lower batch_size or raise n_epochs.`,
    );
  }
  if (seconds !== null && seconds > LONG_SECONDS)
    warnings.push(`This will take about ${(seconds / LONG_SECONDS).toFixed(1)} days.`);
  return warnings;
}
