/** Attaches a method to a model. No other code combines the two. */
import { DomainError } from '@graft/contracts';
import { orFree } from '@graft/kernels';
import type { Adapter, AttachContext, NamedTensors } from '../method.js';
import { parsePeft, partsOf } from './config.js';
import type { PeftConfig } from './config.js';
import { attachingWithHead, checkVirtual, withoutHeads } from './own-head.js';
import type { Model } from '../../models/model.js';
import { atOnce } from '../../interruptible-work.js';
import { tasks } from '../../tasks/registry.js';

/** Options for attaching, next to the model and the config. */
export type AttachOptions = Omit<AttachContext, 'adapters'> & {
  /** Adapters that this one combines, as stored in their files. The caller may free them after attaching. */
  readonly adapters?: readonly { readonly peft: PeftConfig; readonly tensors: NamedTensors }[];
};

/**
 * Attaches the adapter that a Spec's `peft` asks for to the run's rows of the model, with the head of its task if there
 * is one.
 * @throws DomainError with param `peft.<field>` when the config is wrong or does not fit the model
 */
export const attachMethod = (...of: Parameters<typeof attachingMethod>): Adapter =>
  atOnce(attachingMethod(...of));

/**
 * Attaches like `attachMethod`, in steps: the caller can do other work between them. Ending the generator early
 * (`return`) leaves nothing on the model.
 */
export function* attachingMethod(
  model: Model,
  peft: PeftConfig,
  { adapters: files = [], ...given }: AttachOptions,
): Generator<void, Adapter, undefined> {
  const { head = null } = given;
  if (!head) refuseHead(peft);
  const { method, options } = parsePeft(withoutHeads(peft, head, model.config));
  if (head) checkVirtual(method, head);
  const parts = partsOf(files.map((file) => file.peft));
  const adapters = parts.map((part, i) => ({ ...part, tensors: files[i]?.tensors ?? new Map() }));
  const init: AttachContext = { ...given, adapters };
  const work = head
    ? attachingWithHead(model, method, options, { ...init, head })
    : method.attaching(model, options, init);
  let adapter: Adapter | null = null;
  try {
    for (;;) {
      // frees kept tensors if a step fails, as nothing else refers to them
      const { done, value } = orFree(() => work.next());
      if (done) {
        const count = method.tasks?.(options);
        if (count !== undefined) model.modules.tasks.attach(init.run, count);
        return (adapter = value);
      }
      yield;
    }
  } finally {
    if (adapter === null) {
      work.return(undefined as never);
      // a partly attached adapter must not stay on the shared base
      model.modules.detach(init.run);
    }
  }
}

/** Values of task_type that imply a head. Null implies none: PEFT writes it whenever none was given. */
const WITH_HEADS: ReadonlySet<unknown> = new Set(
  tasks.flatMap(({ head, peft: { taskType } }) => (head && taskType !== null ? [taskType] : [])),
);

/** Rejects an adapter with a head if the task has none. @throws DomainError */
function refuseHead(peft: PeftConfig): void {
  const type = peft?.['task_type'];
  if (!WITH_HEADS.has(type)) return;
  const message = `an adapter of task_type ${String(type)} has a task head and does not generate text, so you cannot chat with it`;
  throw new DomainError('unsupported', message, 'model');
}
