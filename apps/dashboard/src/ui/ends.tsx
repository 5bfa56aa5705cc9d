/** So much of a name's end stays in sight: what tells one run of a series from the next stands there. */
const TAIL = 14;

/** A name on one line, of which the middle is left out where there is no room for all of it. */
export function Ends({ name }: { name: string }) {
  if (name.length <= 2 * TAIL) return name;
  return (
    <span className="ends">
      <span>{name.slice(0, -TAIL)}</span>
      <span>{name.slice(-TAIL)}</span>
    </span>
  );
}
