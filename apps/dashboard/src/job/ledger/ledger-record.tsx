import { api } from '../../api/api.js';
import { useLoaded } from '../../api/loaded.js';
import { galleryOf } from '../../media/media-gallery.js';
import { Media } from '../../media/media.js';

interface Props {
  readonly file: string | null;
  readonly line: number;
  /** Beginning of the record, without the bytes of its media. */
  readonly record: string;
}

/** An example in a table cell: its text, image or audio, with its targets. */
export function LedgerRecord({ file, line, record }: Props) {
  return file !== null && /"data:(image|audio)\//.test(record) ? (
    <MediaRecord file={file} line={line} record={record} />
  ) : (
    <RecordText record={record} />
  );
}

/** Shows a flat record as its texts, its label as a tag; the beginning of other records as they are. */
function RecordText({ record }: { record: string }) {
  const fields = flatFields(record);
  if (fields === null) return record;
  return (
    <>
      {fields.map(([name, value]) =>
        name === 'label' ? (
          <span key={name} className="tag">
            {value}
          </span>
        ) : (
          <span key={name} className="pre">
            {value}{' '}
          </span>
        ),
      )}
    </>
  );
}

/** Returns the fields of a record that has only texts. Null for others, and for beginnings of long records. */
function flatFields(record: string): [name: string, value: string][] | null {
  try {
    const fields = Object.entries(JSON.parse(record) as Record<string, unknown>);
    return fields.every(([, value]) => typeof value === 'string')
      ? (fields as [string, string][])
      : null;
  } catch {
    return null;
  }
}

function MediaRecord({ file, line, record }: Props & { readonly file: string }) {
  const { value } = useLoaded(['record', file, line], () => api.records(file, line - 1, 1));
  const [shown] = (value && galleryOf(value.data)) ?? [];
  // The record has another format, or was deleted.
  if (!shown) return record;
  const { media, answers } = shown;
  return (
    <span className="small-media">
      <Media media={media} what={`${answers.join(', ')}, line ${line}`} /> {answers.join(', ')}
    </span>
  );
}
