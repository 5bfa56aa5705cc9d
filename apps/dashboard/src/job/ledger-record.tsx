import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { galleryOf } from '../media/media-gallery.js';
import { Media } from '../media/media.js';

interface Props {
  readonly file: string | null;
  readonly line: number;
  /** Its beginning, without the bytes of media in it. */
  readonly record: string;
}

/** An example as a row of a table has it: its words, or the picture or sound that it is, with what is learnt of it. */
export function LedgerRecord({ file, line, record }: Props) {
  return file !== null && /"data:(image|audio)\//.test(record) ? (
    <MediaRecord file={file} line={line} record={record} />
  ) : (
    record
  );
}

function MediaRecord({ file, line, record }: Props & { readonly file: string }) {
  const { value } = useLoaded(['record', file, line], () => api.records(file, line - 1, 1));
  const [shown] = (value && galleryOf(value.data)) ?? [];
  // of another form, or gone
  if (!shown) return record;
  const { media, answers } = shown;
  return (
    <span className="small-media">
      <Media media={media} what={`${answers.join(', ')}, line ${line}`} /> {answers.join(', ')}
    </span>
  );
}
