// Resolves the spec of a job. What it depends on becomes known one after the other: the request, the base's config.json,
// and what the data contain.
import type { CreateJob, Spec } from '@graft/contracts';
import {
  checkTrained,
  checkWrites,
  continuedOptions,
  footprintOf,
  hasOneLabel,
  headOf,
  heldAs,
  inOrderOf,
  learntOn,
  resolveSpec,
  type BaseFootprint,
  type HfConfig,
  type JobFacts,
} from '../catalog/plugins.js';
import type { Resolved } from '../models/models.service.js';
import type { DataReports } from './reader-protocol.js';

/** What the request says, and what it names. */
export interface AskedJob {
  /** With the base's id, and with the `peft` of the adapter to begin from. */
  readonly request: CreateJob;
  readonly facts: JobFacts;
  /** The adapter to begin from. */
  readonly start: Resolved | null;
  /** Configs of the adapters that the job's adapter is made of. */
  readonly adapters: readonly NonNullable<Spec['peft']>[];
}

/** @throws DomainError naming the field that is wrong */
export function resolveJob({ request, facts, start, adapters }: AskedJob): Spec {
  const spec = resolveSpec(request, facts);
  const task_options = optionsWithLetters(spec, start);
  return { ...spec, task_options, ...(adapters.length > 0 && { adapters: [...adapters] }) };
}

/**
 * The spec and what it takes of its base.
 * @param data reports on the data; left out while nobody has read them
 * @throws DomainError naming the field that does not fit the base
 */
export function resolveOnBase(
  asked: AskedJob,
  config: HfConfig,
  data?: DataReports,
): { readonly spec: Spec; readonly footprint: BaseFootprint } {
  // Equal records stay together, so only the report tells how many are held out.
  const heldOut = data?.validation?.examples;
  const facts = { ...asked.facts, ...(heldOut !== undefined && { heldOut }) };
  const requested = resolveJob({ ...asked, facts });
  checkWrites(requested, config);
  const onBase = learntOn(heldAs(requested, config), config);
  const spec = data ? withFound(onBase, config, data) : onBase;
  const footprint = footprintOf(
    spec.peft,
    config,
    asked.start !== null,
    headOf(spec),
    spec.adapters,
  );
  checkTrained(spec.optimizer, footprint);
  return { spec, footprint };
}

/** With the labels and letters that were found in the data. */
function withFound(spec: Spec, config: HfConfig, { taskOptions }: DataReports): Spec {
  const task_options = { ...inOrderOf(config, taskOptions, spec.task_options) };
  const found = { ...spec, task_options };
  return hasOneLabel(task_options) ? found : { ...found, stratify_by_column: null };
}

/** An adapter to begin from keeps its letters. @throws DomainError where the job asks for others */
function optionsWithLetters(spec: Spec, start: Resolved | null): Spec['task_options'] {
  if (start?.task?.name !== spec.task) return spec.task_options;
  const { letters } = start.task.options as { readonly letters?: readonly string[] | null };
  return continuedOptions(spec, letters ?? null);
}
