// Looks at a job's base and data: config.json, the spec on this base, the report on the data, the exact spec, the memory.
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
  learntOn,
  promptTasks,
  splitOf,
  type BaseFootprint,
  type HfConfig,
} from '../catalog/plugins.js';
import type { File } from '../database/entities/storage.js';
import type { Resolved } from '../models/models.service.js';
import { ReaderFailure } from './data-reader.js';
import type { DataReports } from './data-reports.js';
import { resolveJob, type AskedJob } from './job-spec.js';
import { memoryForecast } from './memory-forecast.js';
import { requireMemory } from './pool-memory.js';
import type { Terms } from './pool-terms.js';
import type { DataReports as Reports } from './reader-protocol.js';
import type { Asker } from './turns.js';

/** What the base and the data say about a job. */
export interface JobOnBase {
  readonly spec: Spec;
  readonly footprint: BaseFootprint | null;
  readonly data: Reports | null;
  readonly memory: MemoryForecast | null;
  /** Why the data were not looked at; null when they were. */
  readonly unread: string | null;
}

interface Inputs {
  readonly base: Resolved['base'];
  readonly training: File;
  readonly validation: File | null;
  readonly pool: string;
  readonly terms: Terms;
  readonly asker: Asker;
}

/**
 * A base or data that cannot be read leave the job as far as it is resolved.
 * @param resolved the job's spec without the base and the data
 * @throws DomainError naming the field that does not fit the base, the data or the pool's workers
 */
export async function jobOnBase(
  reports: DataReports,
  job: AskedJob,
  resolved: Spec,
  { base, training, validation, pool, terms, asker }: Inputs,
): Promise<JobOnBase> {
  const begun = job.start !== null;
  let known: Pick<JobOnBase, 'spec' | 'footprint'> = { spec: resolved, footprint: null };
  try {
    const config = await reports.config(base, asker);
    const onBase = fitToBase(resolved, config, begun);
    known = onBase;
    const { spec, footprint } = onBase;
    const maxSeqLen = cutAt(spec, footprint);
    requireMemory(terms, pool, spec, config, begun);
    const prompts = await reports.promptTokens(base, spec, footprint.maxTokens, asker);
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
    const data = await reports.of(question, asker);
    const exact = fitToBase(specOnData(job, resolved, data), config, begun, data);
    known = exact;
    const answers = answerSizes(exact.spec, config, prompts, exact.footprint.virtualTokens);
    const rows = data.training.largest_rows;
    requireMemory(terms, pool, exact.spec, config, begun, { rows, answers });
    const memory = memoryForecast(exact.spec, config, { ...data, answers }, begun);
    return { ...exact, data, memory, unread: null };
  } catch (error) {
    if (!(error instanceof ReaderFailure)) throw error;
    return { ...known, data: null, memory: null, unread: error.message };
  }
}

/**
 * The spec with the exact number of steps. A split keeps equal records together, so only the report says how many are
 * held out. A validation file holds nothing out.
 */
function specOnData(job: AskedJob, resolved: Spec, { validation }: Reports): Spec {
  if (validation === null || job.request.validation_file) return resolved;
  return resolveJob({ ...job, facts: { ...job.facts, heldOut: validation.examples } });
}

/**
 * The spec and what it takes of its base.
 * @param begun whether the job begins from an adapter
 * @param data reports on the data; left out while nobody has read them
 * @throws DomainError naming the field that does not fit the base
 */
function fitToBase(
  requested: Spec,
  config: HfConfig,
  begun: boolean,
  data?: Reports,
): { readonly spec: Spec; readonly footprint: BaseFootprint } {
  checkWrites(requested, config);
  const onBase = learntOn(heldAs(requested, config), config);
  const spec = data ? withFound(onBase, config, data) : onBase;
  const footprint = footprintOf(spec.peft, config, begun, headOf(spec), spec.adapters);
  checkTrained(spec.optimizer, footprint);
  return { spec, footprint };
}

/** With the labels and letters that were found in the data. */
function withFound(spec: Spec, config: HfConfig, { taskOptions }: Reports): Spec {
  const task_options = { ...inOrderOf(config, taskOptions, spec.task_options) };
  const found = { ...spec, task_options };
  return hasOneLabel(task_options) ? found : { ...found, stratify_by_column: null };
}
