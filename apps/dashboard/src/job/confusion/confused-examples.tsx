import type { FileRecordObject } from '@graft/contracts';
import { useEffect, useRef } from 'react';
import { api } from '../../api/api.js';
import { count } from '../../format.js';
import { useLoaded } from '../../api/loaded.js';
import { FixRow } from '../../job-fixes/row-editor.js';
import { Failure } from '../../ui/feedback/failure.js';
import { Link } from '../../ui/link.js';
import { Loading } from '../../ui/feedback/loading.js';
import { galleryOf, MediaGallery } from '../../media/media-gallery.js';
import { TrainingRecord } from '../../files/record.js';

/** Examples of one label with the same prediction. */
export interface Pair {
  readonly label: string;
  readonly predicted: string;
  readonly times: number;
  /** Line numbers of some of them. */
  readonly lines: readonly number[];
}

interface Props {
  readonly file: string | null;
  readonly pair: Pair;
}

/** Shows the examples of a cell as images, audio or text. */
export function ConfusedExamples({ file, pair }: Props) {
  const { label, predicted, times, lines } = pair;
  const place = useRef<HTMLElement>(null);
  const key = JSON.stringify([file, label, predicted, lines]);
  // Some browsers return a promise, which is not a valid cleanup function.
  useEffect(() => void place.current?.scrollIntoView({ block: 'nearest' }), [key]);
  const { value, error } = useLoaded(['confused-examples', key], () => recordsAt(file, lines));
  const title =
    label === predicted
      ? `“${label}” predicted correctly`
      : `“${label}” predicted as “${predicted}”`;
  return (
    <section ref={place} aria-label="Examples in this cell" className="of-cell">
      <div className="bar">
        <h2 className="grow break">{title}</h2>
        <span className="faint">
          {lines.length < times
            ? `the first ${count(lines.length)} of ${count(times)}`
            : count(times)}
        </span>
      </div>
      {file === null ? (
        <p className="faint">The file has been deleted.</p>
      ) : (
        <>
          <Failure error={error} />
          {value === null ? <Loading error={error} /> : <Records file={file} items={value} />}
          <Lines file={file} lines={lines} />
        </>
      )}
    </section>
  );
}

/** Loads the records one by one, because they can be anywhere in a large file. */
async function recordsAt(
  file: string | null,
  lines: readonly number[],
): Promise<readonly FileRecordObject[]> {
  if (file === null) return [];
  const pages = await Promise.all(lines.map((line) => api.records(file, line - 1, 1)));
  return pages.flatMap(({ data }) => data);
}

interface RecordsProps {
  readonly file: string;
  readonly items: readonly FileRecordObject[];
}

function Records({ file, items }: RecordsProps) {
  const gallery = galleryOf(items);
  return gallery ? (
    <MediaGallery items={gallery} />
  ) : (
    <ol className="examples">
      {items.map((item) => (
        <TrainingRecord
          key={item.line}
          item={item}
          actions={<FixRow file={file} line={item.line} />}
        />
      ))}
    </ol>
  );
}

function Lines({ file, lines }: { readonly file: string; readonly lines: readonly number[] }) {
  return (
    <p className="jump">
      Lines in the file:
      {lines.map((line) => (
        <Link key={line} to="/files/$id" params={{ id: file }} search={{ after: String(line - 1) }}>
          {count(line)}
        </Link>
      ))}
    </p>
  );
}
