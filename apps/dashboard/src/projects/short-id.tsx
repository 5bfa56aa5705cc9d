/** Characters of an id that are shown: enough to distinguish objects on a page. */
const SHOWN = 12;

/** An id in short, with the whole id as its tooltip and for copying. */
export function ShortId({ id }: { id: string }) {
  if (id.length <= SHOWN + 2) return <code>{id}</code>;
  return (
    <code title={id} className="short-id">
      {id.slice(0, SHOWN)}…
    </code>
  );
}
