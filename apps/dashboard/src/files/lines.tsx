import { Link } from '../ui/link.js';

interface LinesProps {
  readonly file: string;
  readonly lines: readonly number[];
  /** Total number of lines, of which `lines` may contain only the first. */
  readonly all: number;
  /** Description for screen readers, such as "a duplicate". */
  readonly what: string;
}

/** Links to lines of a training file. */
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
