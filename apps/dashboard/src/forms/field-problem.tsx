/** Last error of the API, with its field. */
export interface Refusal {
  readonly param: string | null;
  readonly message: string;
}

/** Whether an error concerns a field or a part of it. */
export const isOf = (wrong: Refusal | null, id: string): boolean =>
  wrong?.param === id || wrong?.param?.startsWith(`${id}.`) === true;

/** Returns the ids of the texts that describe a field, for `aria-describedby`. */
export const described = (id: string, { help, bad }: { help: boolean; bad: boolean }) =>
  [bad && `${id}-problem`, help && `${id}-help`].filter(Boolean).join(' ') || undefined;

/** Error of a field, shown below it and therefore without its name. */
export function FieldProblem({ id, wrong }: { id: string; wrong: Refusal | null }) {
  return (
    <small id={`${id}-problem`} className="bad">
      {wrong?.message.replace(/^[\w.]+: /, '')}
    </small>
  );
}
