import { Link } from '../ui/link.js';

interface LinesProps {
  readonly file: string;
  readonly lines: readonly number[];
  /** How many there are, of which `lines` may be the first only. */
  readonly all: number;
  /** What they are, for those who hear one alone: "a duplicate". */
  readonly what: string;
}

/** Leads to lines of a training file. */
export function Lines({ file, lines, all, what }: LinesProps) {
  if (lines.length === 0) return null;
  return (
    <p className="jump">
      Go to line{lines.length === 1 ? '' : 's'}{' '}
      {lines.map((number) => (
        <Link
          key={number}
          to="/files/$id"
          params={{ id: file }}
          search={{ after: String(number - 1) }}
          aria-label={`Line ${number}, ${what}`}
        >
          {number}
        </Link>
      ))}
      {all > lines.length && '…'}
    </p>
  );
}
