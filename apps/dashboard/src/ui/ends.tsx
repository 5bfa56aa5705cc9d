/** Number of characters at the end of a name that stay visible, because they distinguish runs of a series. */
const TAIL = 14;

/** A name on one line. If it does not fit, its middle is truncated. */
export function Ends({ name }: { name: string }) {
  if (name.length <= 2 * TAIL) return name;
  return (
    <span className="ends">
      <span>{name.slice(0, -TAIL)}</span>
      <span>{name.slice(-TAIL)}</span>
    </span>
  );
}
