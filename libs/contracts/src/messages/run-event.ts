// What a run reports, described once. The trainer, the agent and the API all read the same description (ADR 0029).
import type { z } from 'zod';

/** What a line may say beside its payload. */
interface EventContext {
  /** Null before the run has started. */
  readonly totalSteps: number | null;
}

/**
 * What the API does with an event. `event`: appends it to the job's history, with its line as the message and its
 * payload as the data. `series`: stores its numbers in a table, and a line in the history. `own`: calls its handler.
 */
export type Stored = 'event' | 'series' | 'own';

export interface RunEventKind<
  Kind extends string = string,
  Payload extends z.ZodType = z.ZodType,
  Storage extends Stored = Stored,
> {
  readonly kind: Kind;
  /** Travels as JSON. Fields that it does not name are dropped. */
  readonly payload: Payload;
  readonly stored: Storage;
  /** By field: what the API reads instead of a choice that only a newer worker knows. */
  readonly unknownChoices?: Readonly<Record<string, unknown>>;
  /** One sentence for people: the message of the event, and what `graft run` prints. */
  line?(payload: z.output<Payload>, context: EventContext): string;
}

export const runEvent = <
  Kind extends string,
  Payload extends z.ZodType,
  const Storage extends Stored,
>(
  kind: Kind,
  description: Omit<RunEventKind<Kind, Payload, Storage>, 'kind'>,
): RunEventKind<Kind, Payload, Storage> => ({ kind, ...description });
