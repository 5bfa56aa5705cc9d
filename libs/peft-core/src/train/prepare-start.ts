// Passes training data through the model before the adapter exists, for methods whose initialization depends
// on the data: the examples of the first steps, in their order, one micro-batch at a time. The result depends
// only on spec, base and data, so a start that was killed can be repeated.
import type { Spec } from '@graft/contracts';
import { noGrad, tensor, tidy, toDevice, device, type Tensor } from '@graft/kernels';
import { parsePeft } from '../methods/frame/config.js';
import type { NamedTensors } from '../methods/method.js';
import { withoutHeads } from '../methods/frame/own-head.js';
import type { Preparation } from '../methods/frame/preparation.js';
import type { Model } from '../models/model.js';
import type { HeadRequest } from '../nn/outline/head-shapes.js';
import type { Example, Task } from '../tasks/task.js';
import { examplesPerStep } from './cursor.js';
import { DEFAULT_LIMITS, microBatches, wholeBatches } from './micro-batches.js';
import type { RunData } from './run-data.js';

export interface StartOptions {
  /** Id of the run. */
  readonly id: number;
  readonly head: HeadRequest | null;
  readonly onPhase?: (code: string, message: string, progress: number | null) => void;
}

interface Prepared {
  readonly task: Task;
  readonly spec: Spec;
  readonly data: RunData;
}

/** Whether the initialization of the job's adapter reads the training data. */
export function startsFromData(spec: Pick<Spec, 'peft'>): boolean {
  const { method, options } = parsePeft(spec.peft);
  return method.needs?.(options)?.data === true;
}

/**
 * Computes the calibration statistics for the adapter's initialization, one piece of work per turn. The
 * caller frees them.
 * @throws DomainError if the data is not suitable
 */
export function* prepareStart(
  model: Model,
  { task, spec, data }: Prepared,
  { id, head, onPhase }: StartOptions,
): Generator<void, NamedTensors> {
  const { method, options } = parsePeft(withoutHeads(spec.peft, head, model.config));
  const seen = head ? model.withHead(id, head, spec.seed) : model;
  let preparation: Preparation | null = null;
  try {
    preparation = method.prepare?.(seen, options, { run: id, seed: spec.seed }) ?? null;
    if (!preparation) return new Map();
    yield* look(seen, preparation, { task, spec, data }, { id, onPhase });
    const told = (done: number, of: number): void =>
      onPhase?.('making_adapter', `Making the adapter: ${done} of ${of} modules`, done / of);
    return preparation.found(told);
  } finally {
    preparation?.dispose();
    model.modules.detach(id);
  }
}

function* look(
  model: Model,
  { observer }: Preparation,
  { task, spec, data }: Prepared,
  { id, onPhase }: Pick<StartOptions, 'id' | 'onPhase'>,
): Generator<void, void> {
  const samples = samplesOf(task, spec, data, observer);
  const tell = seldom(onPhase);
  const goesRound = observer.examples === Infinity;
  for (let done = 0; ;) {
    const examples = samples[done % samples.length] as readonly Example[];
    const again = pass(model, { task, spec, examples, run: id, observer });
    if (!again) done += 1;
    if (!again && done % samples.length === 0) observer.round?.();
    const progress = observer.progress ?? done / samples.length;
    const which = goesRound ? `batch ${done}` : `${done} of ${samples.length} batches`;
    tell(`Reading the training data to initialize the adapter: ${which}`, progress);
    yield;
    if (goesRound ? progress >= 1 && done > 0 : done === samples.length) return;
  }
}

const TOLD_EVERY_MS = 1000;

/** Limits progress reports to one per second; the first is sent immediately. */
function seldom(onPhase: StartOptions['onPhase']): (message: string, progress: number) => void {
  let last = -Infinity;
  return (message, progress) => {
    if (performance.now() - last < TOLD_EVERY_MS) return;
    last = performance.now();
    onPhase?.('preparing', message, progress);
  };
}

/** Micro-batches of the first steps that together have enough examples, within the first epoch. */
function samplesOf(
  task: Task,
  spec: Spec,
  data: RunData,
  { apart, examples: wanted }: Preparation['observer'],
): (readonly Example[])[] {
  const samples: (readonly Example[])[] = [];
  const steps = Math.ceil(Math.min(wanted, data.examples.length) / examplesPerStep(spec));
  for (let step = 0; step < steps; step++) {
    const examples = data.at(step);
    if (task.wholeBatches)
      samples.push(...wholeBatches(examples, spec.batch_size).map((one) => one.examples));
    else if (apart) samples.push(...examples.map((example) => [example]));
    else samples.push(...microBatches(examples, DEFAULT_LIMITS.budget).map((one) => one.examples));
  }
  return samples;
}

interface Pass {
  readonly task: Task;
  readonly spec: Spec;
  readonly examples: readonly Example[];
  readonly run: number;
  readonly observer: Preparation['observer'];
}

/** Runs one pass. Returns whether the observer needs another pass over the same examples. */
function pass(model: Model, { task, spec, examples, run, observer }: Pass): boolean {
  return tidy(() => {
    observer.begin(observer.supervisedOnly ? supervisedRowsOf(task, examples) : null);
    const { differentiates: learns } = observer;
    const units = examples.reduce((sum, example) => sum + task.units(example, null), 0);
    const runs = new Map([[run, { seed: spec.seed, step: 0 }]]);
    const ctx = { training: learns, runs, rowsApart: true };
    const shares = [{ run, examples, options: spec.task_options as unknown }];
    const scales = learns ? new Map([[run, 1 / Math.max(1, units)]]) : null;
    const loss = (): unknown => tidy(() => void task.loss(model, shares, ctx, scales));
    if (learns) loss();
    else noGrad(loss);
    return observer.end();
  });
}

function supervisedRowsOf(task: Task, examples: readonly Example[]): Tensor | null {
  if (!task.supervisedRows) return null;
  const rows: number[] = [];
  let from = 0;
  for (const example of examples) {
    for (const row of Array.from(task.supervisedRows(example))) rows.push(from + row);
    from += example.rows;
  }
  return toDevice(tensor(rows, [rows.length], 'i64'), device());
}
