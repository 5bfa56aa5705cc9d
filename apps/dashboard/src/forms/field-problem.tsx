/** What the API's last refusal says, and of which field. */
export interface Refusal {
  readonly param: string | null;
  readonly message: string;
}

/** Whether a refusal is of this field: of the whole of it or of a part. */
export const isOf = (wrong: Refusal | null, id: string): boolean =>
  wrong?.param === id || wrong?.param?.startsWith(`${id}.`) === true;

/** Ids of the texts that describe a field, for `aria-describedby`. */
export const described = (id: string, { help, bad }: { help: boolean; bad: boolean }) =>
  [bad && `${id}-problem`, help && `${id}-help`].filter(Boolean).join(' ') || undefined;

/** Why the field was refused, at the field, so without its name. */
export function FieldProblem({ id, wrong }: { id: string; wrong: Refusal | null }) {
  return (
    <small id={`${id}-problem`} className="bad">
      {wrong?.message.replace(/^[\w.]+: /, '')}
    </small>
  );
}
