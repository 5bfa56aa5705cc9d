/** The only place where a model and a method meet. */
import { DomainError } from '@graft/contracts';
import { orFree } from '@graft/kernels';
import type { Adapter, AttachContext, NamedTensors } from '../method.js';
import { parsePeft, partsOf } from './config.js';
import type { PeftConfig } from './config.js';
import { attachingWithHead, checkVirtual, withoutHeads } from './own-head.js';
import type { Model } from '../../models/model.js';
import { atOnce } from '../../interruptible-work.js';
import { tasks } from '../../tasks/registry.js';

/** What attaching needs besides the model and the config. */
export type AttachOptions = Omit<AttachContext, 'adapters'> & {
  /** Adapters that this one is made of, as their files have them; they may be freed when it is attached. */
  readonly adapters?: readonly { readonly peft: PeftConfig; readonly tensors: NamedTensors }[];
};

/**
 * Attaches what a Spec's `peft` asks for to the run's rows of the model, and the head of its task where that has one.
 * @throws DomainError with param `peft.<field>` when the config is wrong or does not fit the model
 */
export const attachMethod = (...of: Parameters<typeof attachingMethod>): Adapter =>
  atOnce(attachingMethod(...of));

/** The same in pieces: others have their turns in between. One that is given up (`return`) leaves nothing on the model. */
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
      // of a part whose making failed nobody holds what it had kept
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
      // half an adapter must not stay on the shared base
      model.modules.detach(init.run);
    }
  }
}

/** A task_type that is null says nothing of a head: PEFT writes it wherever nobody gave one. */
const WITH_HEADS: ReadonlySet<unknown> = new Set(
  tasks.flatMap(({ head, peft: { taskType } }) => (head && taskType !== null ? [taskType] : [])),
);

/** @throws DomainError for an adapter that has a head where none is wanted */
function refuseHead(peft: PeftConfig): void {
  const type = peft?.['task_type'];
  if (!WITH_HEADS.has(type)) return;
  const message = `an adapter of task_type ${String(type)} has a task head and does not generate text, so you cannot chat with it`;
  throw new DomainError('unsupported', message, 'model');
}
