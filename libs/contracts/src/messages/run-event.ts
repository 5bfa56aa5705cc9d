// Descriptions of run events, shared by the trainer, the agent and the API (ADR 0029).
import type { z } from 'zod';

/** Facts for a line of text in addition to the payload. */
interface EventContext {
  /** Null before the run has started. */
  readonly totalSteps: number | null;
}

/**
 * How the API stores an event. `event`: in the job's history, with its line as the message and its payload as the data.
 * `series`: its metrics in a table, and its line in the history. `own`: as implemented by its handler.
 */
export type Stored = 'event' | 'series' | 'own';

export interface RunEventKind<
  Kind extends string = string,
  Payload extends z.ZodType = z.ZodType,
  Storage extends Stored = Stored,
> {
  readonly kind: Kind;
  /** Schema of the payload, which is sent as JSON. Unknown fields are dropped. */
  readonly payload: Payload;
  readonly stored: Storage;
  /** Replacement, per field, for choices that only newer workers know. */
  readonly unknownChoices?: Readonly<Record<string, unknown>>;
  /** Returns the message of the event, one sentence, which `graft run` also prints. */
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
