import { ArrowUp, Square } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { Button } from '../../ui/controls/button.js';
import { submits } from '../submits.js';

/** Maximum height in pixels before the field scrolls. */
const TALLEST = 240;

/** Makes a text field as high as its content. */
export function useGrowing(text: string) {
  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    const { current } = field;
    if (!current) return;
    current.style.height = 'auto';
    current.style.height = `${Math.min(current.scrollHeight + 2, TALLEST)}px`;
  }, [text]);
  return field;
}

interface ComposerProps {
  readonly placeholder: string;
  readonly busy: boolean;
  /** Reason why nothing can be sent. */
  readonly blocked: string | null;
  readonly send: (text: string) => void;
  readonly stop: () => void;
  /** Called with the text that is typed, for the generated code. */
  readonly typed: (text: string) => void;
}

/** The message box at the bottom of a chat. */
export function Composer({ placeholder, busy, blocked, send, stop, typed }: ComposerProps) {
  const [text, setText] = useState('');
  const field = useGrowing(text);
  const change = (now: string) => {
    setText(now);
    typed(now);
  };
  const submit = () => {
    if (busy || blocked !== null || text.trim() === '') return;
    send(text);
    change('');
  };
  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <textarea
        ref={field}
        rows={1}
        aria-label="Message"
        autoFocus
        value={text}
        placeholder={placeholder}
        onChange={(event) => change(event.target.value)}
        onKeyDown={(event) => {
          if (!submits(event)) return;
          event.preventDefault();
          submit();
        }}
      />
      {busy ? (
        <Button icon={<Square />} onClick={stop}>
          Stop
        </Button>
      ) : (
        <Button
          type="submit"
          variant="primary"
          icon={<ArrowUp />}
          disabled={blocked !== null || text.trim() === ''}
        >
          Send
        </Button>
      )}
    </form>
  );
}
