export type SpanName =
  | 'job'
  | 'submit'
  | 'queue'
  | 'paused'
  | 'attempt'
  | 'load'
  | 'phase'
  | 'train'
  | 'replay'
  | 'steps'
  | 'evaluation'
  | 'checkpoint'
  | 'eval'
  | 'upload';

/** Span of a job's time. */
export interface TraceSpan {
  readonly name: SpanName;
  /** Unique within the job, and the same each time the span is computed. */
  readonly key: string;
  readonly parent: string | null;
  /** Name that users see. */
  readonly label: string;
  /** Unix milliseconds. */
  readonly start: number;
  readonly end: number;
  /** Whether the span has not ended; its `end` is then the current time. */
  readonly isOpen: boolean;
  /** Number of the attempt whose end completes the span; null: the end of the job. */
  readonly attempt: number | null;
  readonly attributes: Readonly<Record<string, string | number>>;
  /** Reason of a failure; null without one. */
  readonly error: string | null;
  readonly warnings: readonly Warning[];
}

export interface Warning {
  readonly at: number;
  readonly level: string;
  readonly message: string;
}

type Basics = Pick<TraceSpan, 'key' | 'parent' | 'label' | 'start' | 'end'>;

/** Creates a span. By default it has ended without error. */
export const span = (name: SpanName, fields: Basics & Partial<TraceSpan>): TraceSpan => ({
  isOpen: false,
  attempt: null,
  attributes: {},
  error: null,
  warnings: [],
  ...fields,
  name,
});

/** Removes unknown (null or undefined) values. */
export function present(
  values: Readonly<Record<string, string | number | null | undefined>>,
): Record<string, string | number> {
  const known = Object.entries(values).filter(
    (entry): entry is [string, string | number] => entry[1] !== null && entry[1] !== undefined,
  );
  return Object.fromEntries(known);
}
