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

/** A stretch of a job's time. */
export interface TraceSpan {
  readonly name: SpanName;
  /** Its own within the job, and the same whenever it is made. */
  readonly key: string;
  readonly parent: string | null;
  /** What people read. */
  readonly label: string;
  /** Unix milliseconds. */
  readonly start: number;
  readonly end: number;
  /** Not over yet: it ends now. */
  readonly isOpen: boolean;
  /** With whose end it is known: the attempt's number, or null: the job's. */
  readonly attempt: number | null;
  readonly attributes: Readonly<Record<string, string | number>>;
  /** What it failed of. */
  readonly error: string | null;
  readonly warnings: readonly Warning[];
}

export interface Warning {
  readonly at: number;
  readonly level: string;
  readonly message: string;
}

type Basics = Pick<TraceSpan, 'key' | 'parent' | 'label' | 'start' | 'end'>;

/** One that is over and nothing is wrong with, unless it is said. */
export const span = (name: SpanName, fields: Basics & Partial<TraceSpan>): TraceSpan => ({
  isOpen: false,
  attempt: null,
  attributes: {},
  error: null,
  warnings: [],
  ...fields,
  name,
});

/** Without what is not known. */
export function present(
  values: Readonly<Record<string, string | number | null | undefined>>,
): Record<string, string | number> {
  const known = Object.entries(values).filter(
    (entry): entry is [string, string | number] => entry[1] !== null && entry[1] !== undefined,
  );
  return Object.fromEntries(known);
}
