import { Injectable } from '@nestjs/common';
import {
  CreateJob,
  DomainError,
  MOST_SAMPLED_STEPS,
  parseBody,
  type JobWarning,
  type Spec,
} from '@graft/contracts';
import { z } from 'zod';
import type { Principal } from '../auth/principal.js';
import { continued, peftFields, totalSteps, withoutHeldOut } from '../catalog/plugins.js';
import type { File } from '../database/entities/storage.js';
import { FilesService } from '../files/files.service.js';
import { priorityWithin } from '../lifecycle/lease/quotas.js';
import { JobIntegrations, type JobRun } from '../integrations/job-integrations.js';
import { ModelsService, type Resolved } from '../models/models.service.js';
import { DEFAULT_POOL } from '../queue/pool.js';
import { DataReports } from './data-reports.js';
import { JobEval } from './job-eval.js';
import { jobOnBase, type JobOnBase } from './job-on-base.js';
import { resolveJob, withAdapters, type JobRequest } from './job-spec.js';
import { PoolTerms } from './pool-terms.js';
import { adapterParts, type AdapterPart } from './adapter-parts.js';
import { chosenTask, tableWarnings } from './table-warnings.js';

/** Create call after validation and resolution. Nothing is written yet. */
export interface JobPlan extends JobOnBase {
  readonly request: CreateJob;
  readonly base: Resolved;
  /** Initial adapter. */
  readonly start: Resolved | null;
  /** Adapters that the job's adapter consists of. */
  readonly parts: readonly AdapterPart[];
  readonly training: File;
  readonly validation: File | null;
  /** Resolved priority, within the project's limit. */
  readonly priority: number;
  /** Trackers that the job is sent to. */
  readonly integrations: readonly JobRun[];
  /** Warning that no worker has ever joined the pool; null otherwise. */
  readonly neverJoined: string | null;
  /** Warnings about the files that do not depend on the base. */
  readonly warnings: readonly JobWarning[];
}

/** OpenAI's limit, checked here because it counts pairs, not characters. */
const Metadata = z.object({
  metadata: z
    .record(z.string(), z.string())
    .refine((pairs) => Object.keys(pairs).length <= 16, 'at most 16 pairs'),
});

/** Turns the body of a create call into a plan. Creation writes it, a preview shows it. */
@Injectable()
export class JobPlans {
  constructor(
    private readonly files: FilesService,
    private readonly models: ModelsService,
    private readonly reports: DataReports,
    private readonly pools: PoolTerms,
    private readonly evals: JobEval,
    private readonly integrations: JobIntegrations,
  ) {}

  /**
   * @param gone aborts when the caller no longer waits for the plan
   * @throws DomainError that names the field, or the lines of a file, that are wrong
   */
  async of(caller: Principal, body: unknown, gone?: AbortSignal): Promise<JobPlan> {
    const request = parseBody(CreateJob, body, peftFields);
    if (request.metadata) parseBody(Metadata, { metadata: request.metadata });
    try {
      return await this.planned(caller, request, gone);
    } catch (error) {
      const isOfSplit = error instanceof DomainError && error.param === 'graft.validation_split';
      if (!isOfSplit || request.graft?.validation_split !== undefined) throw error;
      // A default must not cause an error: without the default split, the job can train on these records.
      return this.planned(caller, withoutHeldOut(request), gone);
    }
  }

  private async planned(
    caller: Principal,
    body: CreateJob,
    gone: AbortSignal | undefined,
  ): Promise<JobPlan> {
    let request = body;
    const pool = body.graft?.pool ?? DEFAULT_POOL;
    const terms = await this.pools.of(caller.projectId, pool, 'graft.pool');
    const priority = priorityWithin(caller.projectId, terms.limits, request.graft?.priority);
    const integrations = await this.integrations.of(caller, request.integrations);
    const base = await this.models.resolve(caller, request.model, 'model');
    const start = await this.startingAdapter(caller, request, base);
    const training = await this.usable(caller, request.training_file, 'training_file');
    const validation = request.validation_file
      ? await this.usable(caller, request.validation_file, 'validation_file')
      : null;
    const modelType = base.base.family ?? undefined;
    const taken = chosenTask(body, training, modelType);
    if (taken) request = { ...body, graft: { ...body.graft, task: taken.task } };
    const jobRequest: JobRequest = {
      request: {
        ...request,
        model: base.base.id,
        ...(await this.samePeft(caller, request, start)),
      },
      facts: {
        trainingRecords: training.records,
        warmStart: start !== null,
        fineTuned: base.base.job_id !== null,
        ...(modelType === undefined ? {} : { modelType }),
      },
      start,
      adapters: [],
    };
    const resolved = resolveJob(jobRequest);
    const parts = await adapterParts(this.models, caller, { peft: resolved.peft, base, start });
    const job = { ...jobRequest, adapters: parts.map(({ config }) => config) };
    const spec = withAdapters(resolved, job);
    request = await this.evals.resolved(caller.projectId, request, spec);
    checkTask(training, spec, 'training_file');
    if (validation) checkTask(validation, spec, 'validation_file');
    const asker = this.reports.caller(caller.projectId, gone);
    const files = { base: base.base, training, validation };
    const onBase = await jobOnBase(this.reports, job, spec, {
      ...files,
      pool,
      terms,
      caller: asker,
    });
    const examples = onBase.data?.training.examples ?? training.records;
    checkSampledSteps(onBase.spec, totalSteps(onBase.spec, examples));
    return {
      request,
      base,
      start,
      parts,
      training,
      validation,
      priority,
      integrations,
      neverJoined: terms.neverJoined,
      warnings: [...(taken ? [taken.warning] : []), ...tableWarnings([training, validation])],
      ...onBase,
    };
  }

  private async startingAdapter(
    caller: Principal,
    request: CreateJob,
    base: Resolved,
  ): Promise<Resolved | null> {
    const named = request.graft?.init_adapter;
    if (!named) return base.adapter.length > 0 ? base : null;
    const start = await this.models.resolve(caller, named, 'graft.init_adapter');
    if (start.adapter.length === 0) {
      throw new DomainError(
        'invalid_adapter',
        `${named} is a base model, not an adapter`,
        'graft.init_adapter',
      );
    }
    if (start.base.id !== base.base.id) {
      throw new DomainError(
        'invalid_adapter',
        `${named} was trained on ${start.base.id}, not on ${base.base.id}`,
        'graft.init_adapter',
      );
    }
    return start;
  }

  /**
   * Fills fields that `peft` does not set with those of the initial adapter.
   * @throws DomainError for a field that would change what the adapter computes
   */
  private async samePeft(
    caller: Principal,
    request: CreateJob,
    start: Resolved | null,
  ): Promise<Pick<CreateJob, 'peft'>> {
    if (start === null) return {};
    const parameter = request.graft?.init_adapter ? 'graft.init_adapter' : 'model';
    const stored = await this.models.peftOf(caller, start.id, parameter);
    return { peft: continued(request.peft, stored) };
  }

  private async usable(caller: Principal, id: string, parameter: string): Promise<File> {
    const file = await this.files.row(caller, id, parameter);
    if (file.purpose !== 'fine-tune') {
      throw new DomainError(
        'invalid_training_file',
        `${id} has purpose ${file.purpose}; upload it with purpose fine-tune`,
        parameter,
      );
    }
    if (file.status !== 'processed') {
      throw new DomainError(
        'invalid_training_file',
        `${file.filename} (${id}) cannot be used: ${file.status_details ?? file.status}`,
        parameter,
      );
    }
    return file;
  }
}

/** Returns the steps of a run and the tokens of all epochs, or of as many examples as max_steps allows. */
export function plannedTokens(
  spec: Spec,
  { examples, tokens }: { readonly examples: number; readonly tokens: number },
): { readonly steps: number; readonly tokens: number } {
  const steps = totalSteps(spec, examples);
  const seen = Math.min(
    spec.n_epochs * examples,
    steps * spec.batch_size * spec.gradient_accumulation_steps,
  );
  return { steps, tokens: Math.round((tokens * seen) / Math.max(1, examples)) };
}

/** Rejects a file that does not fit the task according to the check of its upload. */
function checkTask({ id, filename, report }: File, { task }: Spec, parameter: string): void {
  const tasks = report?.tasks ?? [];
  const found = tasks.find((one) => one.task === task);
  if (!found || found.fits) return;
  const others = tasks.filter(({ fits }) => fits).map((one) => one.task);
  const wayOut = others.length > 0 ? `; it fits graft.task ${others.join(' or ')}` : '';
  throw new DomainError(
    'invalid_training_file',
    `${filename} (${id}) does not fit task ${task}: ${found.problem ?? 'its records have another format'}${wayOut}`,
    parameter,
  );
}

/** @throws DomainError if a run of this many steps would answer its sample prompts too often */
function checkSampledSteps(
  { sample_prompts: prompts, eval_steps: every }: Pick<Spec, 'sample_prompts' | 'eval_steps'>,
  steps: number,
): void {
  if (!prompts || every === 0) return;
  // Before the first step, at each evaluation and at the end.
  const times = 1 + Math.ceil(steps / every);
  if (times <= MOST_SAMPLED_STEPS) return;
  const least = Math.ceil(steps / (MOST_SAMPLED_STEPS - 1));
  const often = `graft.sample_prompts would be answered ${times} times in ${steps} steps; the limit is ${MOST_SAMPLED_STEPS}`;
  throw new DomainError(
    'invalid_value',
    `graft.eval_steps: expected an integer ≥ ${least} or 0, got ${every}: ${often}`,
    'graft.eval_steps',
  );
}
