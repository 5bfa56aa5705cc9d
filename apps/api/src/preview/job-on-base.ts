// Resolves a job with its base and data: config.json, the spec on this base, the data report, the exact spec,
// the memory.
import type { MemoryForecast, Spec } from '@graft/contracts';
import {
  answerSizes,
  checkTrained,
  checkWrites,
  cutAt,
  footprintOf,
  hasOneLabel,
  headOf,
  heldAs,
  inOrderOf,
  invocationOf,
  withBaseVocabulary,
  promptTasks,
  splitOf,
  type BaseFootprint,
  type HfConfig,
} from '../catalog/plugins.js';
import type { File } from '../database/entities/storage.js';
import type { Resolved } from '../models/models.service.js';
import { ReaderFailure } from './data-reader.js';
import type { DataReports } from './data-reports.js';
import { resolveJob, type JobRequest } from './job-spec.js';
import { memoryForecast } from './memory-forecast.js';
import { requireMemory } from './pool-memory.js';
import type { PoolLimits } from './pool-terms.js';
import type { DataReports as Reports } from './reader-protocol.js';
import type { WorkCaller } from './turns.js';

/** Job as resolved with its base and data. */
export interface JobOnBase {
  readonly spec: Spec;
  readonly footprint: BaseFootprint | null;
  readonly data: Reports | null;
  readonly memory: MemoryForecast | null;
  /** Reason why the data could not be read; null if they were read. */
  readonly unread: string | null;
}

interface Inputs {
  readonly base: Resolved['base'];
  readonly training: File;
  readonly validation: File | null;
  readonly pool: string;
  readonly terms: PoolLimits;
  readonly caller: WorkCaller;
}

/**
 * Resolves a job with its base and data. If they cannot be read, the job stays as far as it is resolved.
 * @param resolved the job's spec without the base and the data
 * @throws DomainError that names the field that does not fit the base, the data or the pool's workers
 */
export async function jobOnBase(
  reports: DataReports,
  job: JobRequest,
  resolved: Spec,
  { base, training, validation, pool, terms, caller }: Inputs,
): Promise<JobOnBase> {
  const isWarmStart = job.start !== null;
  let known: Pick<JobOnBase, 'spec' | 'footprint'> = { spec: resolved, footprint: null };
  try {
    const config = await reports.config(base, caller);
    const onBase = fitToBase(resolved, config, isWarmStart);
    known = onBase;
    const { spec, footprint } = onBase;
    const maxSeqLen = cutAt(spec, footprint);
    requireMemory(terms, pool, spec, config, isWarmStart);
    const prompts = await reports.promptTokens(base, spec, footprint.maxTokens, caller);
    const question = {
      base,
      training,
      validation,
      task: spec.task,
      taskOptions: spec.task_options,
      maxSeqLen,
      tasks: promptTasks(spec.peft),
      split: splitOf(spec),
      invocation: invocationOf(spec.peft),
    };
    const data = await reports.of(question, caller);
    const exact = fitToBase(specOnData(job, resolved, data), config, isWarmStart, data);
    known = exact;
    const answers = answerSizes(exact.spec, config, prompts, exact.footprint.virtualTokens);
    const rows = data.training.largest_rows;
    requireMemory(terms, pool, exact.spec, config, isWarmStart, { rows, answers });
    const memory = memoryForecast(exact.spec, config, { ...data, answers }, isWarmStart);
    return { ...exact, data, memory, unread: null };
  } catch (error) {
    if (!(error instanceof ReaderFailure)) throw error;
    return { ...known, data: null, memory: null, unread: error.message };
  }
}

/**
 * Returns the spec with the exact number of steps. A split keeps equal records together, so the number of
 * held-out records is only known from the report. With a validation file, nothing is held out.
 */
function specOnData(job: JobRequest, resolved: Spec, { validation }: Reports): Spec {
  if (validation === null || job.request.validation_file) return resolved;
  return resolveJob({ ...job, facts: { ...job.facts, heldOut: validation.examples } });
}

/**
 * Returns the spec on this base, and its memory and parameters.
 * @param isWarmStart whether the job starts from an adapter
 * @param data reports on the data; undefined until they are read
 * @throws DomainError that names the field that does not fit the base
 */
function fitToBase(
  requested: Spec,
  config: HfConfig,
  isWarmStart: boolean,
  data?: Reports,
): { readonly spec: Spec; readonly footprint: BaseFootprint } {
  checkWrites(requested, config);
  const onBase = withBaseVocabulary(heldAs(requested, config), config);
  const spec = data ? withFound(onBase, config, data) : onBase;
  const footprint = footprintOf(spec.peft, config, isWarmStart, headOf(spec), spec.adapters);
  checkTrained(spec.optimizer, footprint);
  return { spec, footprint };
}

/** Returns the spec with the labels and the vocabulary that were found in the data. */
function withFound(spec: Spec, config: HfConfig, { taskOptions }: Reports): Spec {
  const task_options = { ...inOrderOf(config, taskOptions, spec.task_options) };
  const found = { ...spec, task_options };
  return hasOneLabel(task_options) ? found : { ...found, stratify_by_column: null };
}
