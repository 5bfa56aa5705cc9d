import { useId, useState } from 'react';

interface Props {
  readonly filename: string;
  readonly columns: readonly string[];
  readonly busy: boolean;
  readonly onPick: (columns: Readonly<Record<string, string>>) => void;
  readonly onLeave: () => void;
}

const KINDS = [
  {
    name: 'Prompts with completions',
    parts: ['prompt', 'completion'],
    means: 'The model learns to write the completion, given the prompt.',
  },
  { name: 'Plain texts', parts: ['text'], means: 'The model learns to write the whole text.' },
] as const;
type Part = (typeof KINDS)[number]['parts'][number];

/** Asks which column of a table is what, after its upload was refused for that. */
export function ColumnPick({ filename, columns, busy, onPick, onLeave }: Props) {
  const id = useId();
  const [first = '', second = first] = columns;
  const [kind, setKind] = useState<(typeof KINDS)[number]>(
    columns.length > 1 ? KINDS[0] : KINDS[1],
  );
  const [chosen, setChosen] = useState<Readonly<Record<Part, string>>>({
    prompt: first,
    completion: second,
    text: first,
  });
  const picked = Object.fromEntries(kind.parts.map((part) => [part, chosen[part]]));
  const twice = new Set(Object.values(picked)).size < kind.parts.length;
  return (
    // No form of its own: it may stand inside one.
    <section className="card" aria-label={`Columns of ${filename}`}>
      <h2 className="break">Which columns of {filename}?</h2>
      <div className="bar" role="radiogroup" aria-label="Record format">
        {KINDS.map((one) => (
          <label key={one.name}>
            <input
              type="radio"
              name={`${id}kind`}
              checked={one === kind}
              onChange={() => setKind(one)}
            />{' '}
            {one.name}
          </label>
        ))}
      </div>
      <p className="faint">{kind.means}</p>
      <div className="bar">
        {kind.parts.map((part) => (
          <div className="field" key={part}>
            <label htmlFor={`${id}${part}`}>{part}</label>
            <select
              id={`${id}${part}`}
              value={chosen[part]}
              onChange={(event) => setChosen((now) => ({ ...now, [part]: event.target.value }))}
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
          disabled={busy || twice}
          onClick={() => onPick(picked)}
        >
          Upload with {kind.parts.length === 1 ? 'this' : 'these'}
        </button>
        <button type="button" onClick={onLeave}>
          Don’t upload
        </button>
        {twice && <span className="faint">Choose two different columns.</span>}
      </div>
    </section>
  );
}
