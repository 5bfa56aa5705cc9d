// Messages of a trainer as the specs read them: the payload of an event, with its kind.
import type { PayloadOf, RunEventName } from '@graft/contracts';
import type { TrainerProcess } from '@graft/worker';

type Fact = Parameters<Parameters<TrainerProcess['onFact']>[0]>[0];
interface Key {
  readonly jobId: string;
  readonly attempt: number;
}
/** Log lines and phases may belong to the trainer itself. */
type KeyOf<K> = K extends 'log' | 'phase' ? Partial<Key> : Key;
export type FlatFact =
  | Exclude<Fact, { type: 'event' | 'log' | 'phase' }>
  | { [K in RunEventName]: { readonly type: K } & KeyOf<K> & PayloadOf<K> }[RunEventName];
export type FlatFactOf<K extends FlatFact['type']> = Extract<FlatFact, { type: K }>;

/** Subscribes to every message, in order. */
export function onFact(trainer: TrainerProcess, listener: (fact: FlatFact) => void): void {
  trainer.onFact((fact) => listener(flat(fact)));
}

/** Subscribes to messages of one type. */
export function on<K extends FlatFact['type']>(
  trainer: TrainerProcess,
  type: K,
  listener: (fact: FlatFactOf<K>) => void,
): void {
  onFact(trainer, (fact) => {
    if (fact.type === type) listener(fact as FlatFactOf<K>);
  });
}

function flat(fact: Fact): FlatFact {
  if (fact.type !== 'event') return fact;
  const { jobId, attempt, kind, payload } = fact;
  return { type: kind, jobId, attempt, ...payload } as FlatFact;
}
