import type { FileObject, FileRecordObject } from '@graft/contracts';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useRecordFormats } from '../files/record-formats.js';
import { mediaUrl, type MediaUrl } from '../media/media-url.js';
import { Media } from '../media/media.js';
import { Link } from '../ui/link.js';

const ROWS = 3;
/** Characters of a part, more than fit in a line. */
const LONG = 240;

interface Part {
  readonly name: string;
  /** Empty for an image or audio. */
  readonly text: string;
  readonly media: MediaUrl | null;
  /** Whether the model learns to produce it. */
  readonly isTarget: boolean;
}

type Fields = Readonly<Record<string, unknown>>;

const isMessages = (value: unknown): value is readonly Fields[] =>
  Array.isArray(value) &&
  value.some((one) => typeof one === 'object' && one !== null && 'role' in one);

function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  if (Array.isArray(value))
    return value
      .map((one) => textOf(typeof one === 'object' && one ? ((one as Fields)['text'] ?? '') : one))
      .join(' ');
  return value === null || value === undefined ? '' : JSON.stringify(value);
}

/** Returns the parts of a record, inputs before targets. */
export function partsOf(record: Fields, targets: ReadonlySet<string>): readonly Part[] {
  const parts = Object.entries(record).flatMap(([name, value]): Part[] => {
    const media = mediaUrl(value);
    if (media) return [{ name, text: '', media, isTarget: targets.has(name) }];
    if (!isMessages(value))
      return [{ name, text: textOf(value).slice(0, LONG), media, isTarget: targets.has(name) }];
    const last = value.findLast(({ role }) => role === 'assistant');
    const asked = value.findLast(({ role }) => role === 'user') ?? value[0];
    return [
      ...(asked && asked !== last
        ? [
            {
              name: String(asked['role']),
              text: textOf(asked['content']).slice(0, LONG),
              media,
              isTarget: false,
            },
          ]
        : []),
      ...(last
        ? [
            {
              name: name === 'messages' ? 'assistant' : name,
              text: textOf(last['content']).slice(0, LONG),
              media,
              isTarget: targets.has(name),
            },
          ]
        : []),
    ];
  });
  return parts
    .filter(({ text, media }) => text !== '' || media !== null)
    .sort((a, b) => Number(a.isTarget) - Number(b.isTarget));
}

/** First rows of a training file, one line each. What the model learns to produce is highlighted. */
export function FilePreview({ file }: { file: FileObject }) {
  const rows = useLoaded(
    ['first-records', file.id],
    async () => (await api.records(file.id, 0, ROWS)).data,
  );
  const known = useRecordFormats();
  const own = known.filter(({ name }) => file.graft?.formats[name] !== undefined);
  const targets = new Set(own.flatMap((format) => format.learnt));
  return (
    <ul className="file-preview" aria-label="First rows" aria-busy={rows.value === null}>
      {(rows.value ?? Array.from({ length: ROWS }, () => null)).map((row, n) => (
        <li key={n}>
          {row ? <PreviewRow row={row} targets={targets} /> : <span className="skeleton" />}
        </li>
      ))}
    </ul>
  );
}

function PreviewRow({ row, targets }: { row: FileRecordObject; targets: ReadonlySet<string> }) {
  if (row.record === null)
    return (
      <span className="bad">
        line {row.line}: {row.problem}
      </span>
    );
  return partsOf(row.record, targets).map(({ name, text, media, isTarget }) =>
    media ? (
      <Media key={name} media={media} what={`${name} of line ${row.line}`} />
    ) : (
      <span key={name} className={isTarget ? 'part target' : 'part'} title={`${name}: ${text}`}>
        <span className="unseen">{name}: </span>
        {text}
      </span>
    ),
  );
}

/** Link to all rows of a file. */
export const AllRows = ({ file }: { file: FileObject }) => (
  <Link to="/files/$id" params={{ id: file.id }}>
    All rows
  </Link>
);
