import { Pencil } from 'lucide-react';
import { useRef, useState, type FormEvent } from 'react';

interface EditableTitleProps {
  readonly title: string;
  readonly maxLength: number;
  /** Saves a new title. Undefined if the user may not change it. */
  readonly save: ((title: string) => Promise<unknown>) | undefined;
  /** Name of the field, such as "Name of the job". */
  readonly label: string;
}

/** Title of a page that becomes a text field on click. Enter saves, Escape discards. */
export function EditableTitle({ title, maxLength, save, label }: EditableTitleProps) {
  const [typed, setTyped] = useState<string | null>(null);
  // The field also loses the focus when it is removed, after Enter or Escape. That must not save again.
  const isDecided = useRef(false);
  if (!save) return title;
  const open = () => {
    isDecided.current = false;
    setTyped(title);
  };
  const close = () => {
    isDecided.current = true;
    setTyped(null);
  };
  const submit = (event?: FormEvent) => {
    event?.preventDefault();
    if (isDecided.current) return;
    isDecided.current = true;
    const name = typed?.trim() ?? '';
    if (name === '' || name === title) return close();
    void save(name).then(close, close);
  };
  if (typed === null)
    return (
      <button
        type="button"
        className="editable-title"
        title="Rename"
        aria-label={`${title}, rename`}
        onClick={open}
      >
        {title} <Pencil aria-hidden="true" />
      </button>
    );
  return (
    <form className="editable-title" onSubmit={submit}>
      <input
        autoFocus
        aria-label={label}
        value={typed}
        maxLength={maxLength}
        size={Math.max(12, typed.length)}
        onFocus={(event) => event.target.select()}
        onChange={(event) => setTyped(event.target.value)}
        onKeyDown={(event) => event.key === 'Escape' && close()}
        onBlur={() => submit()}
      />
    </form>
  );
}
