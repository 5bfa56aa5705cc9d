import { faint, failure, strong, warning } from '../output/style.js';
import { printable, wrap, type Output } from '../output/terminal.js';

export type State = 'made' | 'there' | 'draft' | 'no counterpart' | 'failed';

/** What became, or in a plan would become, of one thing. */
export interface Outcome {
  readonly kind: 'file' | 'eval' | 'run' | 'job' | 'other';
  /** As OpenAI or the file system calls it. */
  readonly name: string;
  readonly state: State;
  /** Here: an id, or the path of a draft; null where there is none (yet). */
  readonly id: string | null;
  readonly notes: readonly string[];
}

/** An outcome before it is said whose it is. */
export type Done = Omit<Outcome, 'kind' | 'name'>;

const PAINT: Readonly<Record<State, (text: string) => string>> = {
  made: strong,
  there: faint,
  draft: strong,
  'no counterpart': warning,
  failed: failure,
};

/** A line for a thing, and one for each note. */
export function show(
  out: Output,
  planned: boolean,
  { kind, name, state, id, notes }: Outcome,
): void {
  const said =
    planned && state === 'made' ? 'to make' : planned && state === 'draft' ? 'to draft' : state;
  const line = [kind.padEnd(5), printable(name), PAINT[state](said), id === null ? '' : faint(id)];
  out.line(line.join('  ').trimEnd());
  for (const note of notes) out.line(`       ${wrap(printable(note), 100, '       ')}`);
}

export function summary(outcomes: readonly Outcome[], planned: boolean): string {
  const words: Readonly<Record<State, string>> = {
    made: planned ? 'to make' : 'made',
    there: 'there already',
    draft: planned ? 'to draft' : 'drafted',
    'no counterpart': 'without a counterpart',
    failed: 'failed',
  };
  const parts = Object.entries(words).flatMap(([state, word]) => {
    const n = outcomes.filter((one) => one.state === state).length;
    return n === 0 ? [] : [`${n} ${word}`];
  });
  return parts.length === 0 ? 'nothing to import was found' : parts.join(', ');
}
