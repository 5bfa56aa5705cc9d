import { faint, failure, strong, warning } from '../output/style.js';
import { printable, wrap, type Output } from '../output/terminal.js';

export type State = 'made' | 'there' | 'draft' | 'no counterpart' | 'failed';

/** Result of importing one item; in a dry run, the expected result. */
export interface Outcome {
  readonly kind: 'file' | 'eval' | 'run' | 'job' | 'other';
  /** Name at OpenAI, or path of the file. */
  readonly name: string;
  readonly state: State;
  /** Id in Graft, or path of a draft. Null if there is none (yet). */
  readonly id: string | null;
  readonly notes: readonly string[];
}

/** Outcome without the item's kind and name. */
export type Done = Omit<Outcome, 'kind' | 'name'>;

const PAINT: Readonly<Record<State, (text: string) => string>> = {
  made: strong,
  there: faint,
  draft: strong,
  'no counterpart': warning,
  failed: failure,
};

const LABELS: Readonly<Record<State, string>> = {
  made: 'created',
  there: 'already imported',
  draft: 'drafted',
  'no counterpart': 'not supported',
  failed: 'failed',
};

/** Labels that differ in a dry run. */
const PLANNED: Readonly<Partial<Record<State, string>>> = { made: 'to create', draft: 'to draft' };

/** Prints a line for the item and a line for each note. */
export function show(
  out: Output,
  planned: boolean,
  { kind, name, state, id, notes }: Outcome,
): void {
  const label = (planned ? PLANNED[state] : undefined) ?? LABELS[state];
  const line = [kind.padEnd(5), printable(name), PAINT[state](label), id === null ? '' : faint(id)];
  out.line(line.join('  ').trimEnd());
  for (const note of notes) out.line(`       ${wrap(printable(note), 100, '       ')}`);
}

export function summary(outcomes: readonly Outcome[], planned: boolean): string {
  const labels = { ...LABELS, ...(planned ? PLANNED : {}) };
  const parts = Object.entries(labels).flatMap(([state, word]) => {
    const n = outcomes.filter((one) => one.state === state).length;
    return n === 0 ? [] : [`${n} ${word}`];
  });
  return parts.length === 0 ? 'found nothing to import' : parts.join(', ');
}
