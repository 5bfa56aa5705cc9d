import { useId, useState } from 'react';

interface Props {
  readonly filename: string;
  readonly columns: readonly string[];
  readonly busy: boolean;
  readonly onPick: (columns: Readonly<Record<string, string>>) => void;
  readonly onLeave: () => void;
}

const PARTS = ['prompt', 'completion'] as const;

/** Asks which column of a table is what, after its upload was refused for that. */
export function ColumnPick({ filename, columns, busy, onPick, onLeave }: Props) {
  const id = useId();
  const [prompt, setPrompt] = useState(columns[0] ?? '');
  const [completion, setCompletion] = useState(columns[1] ?? columns[0] ?? '');
  const chosen = { prompt, completion };
  const set = { prompt: setPrompt, completion: setCompletion };
  return (
    // No form of its own: it may stand inside one.
    <section className="card" aria-label={`Columns of ${filename}`}>
      <h2 className="break">Which columns of {filename}?</h2>
      <p>A model learns to write the completion when it is given the prompt.</p>
      <div className="bar">
        {PARTS.map((part) => (
          <div className="field" key={part}>
            <label htmlFor={`${id}${part}`}>{part}</label>
            <select
              id={`${id}${part}`}
              value={chosen[part]}
              onChange={(event) => set[part](event.target.value)}
            >
              {columns.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </div>
        ))}
      </div>
      <div className="bar">
        <button
          type="button"
          className="main"
          disabled={busy || prompt === completion}
          onClick={() => onPick(chosen)}
        >
          Upload with these
        </button>
        <button type="button" onClick={onLeave}>
          Leave it
        </button>
        {prompt === completion && <span className="faint">Choose two different columns.</span>}
      </div>
    </section>
  );
}
