import type { FileRecordObject } from '@graft/contracts';
import { count } from '../format.js';
import { mediaUrl, type MediaUrl } from './media-url.js';
import { Media } from './media.js';

type Fields = Readonly<Record<string, unknown>>;

interface Shown {
  readonly line: number;
  readonly media: MediaUrl;
  /** Targets of the example. */
  readonly answers: readonly string[];
}

/**
 * Returns examples that consist of one image or audio file and its targets. Null if any example has
 * another format.
 */
export function galleryOf(items: readonly FileRecordObject[]): readonly Shown[] | null {
  const shown = items.map(({ line, record }) => (record === null ? null : shownOf(line, record)));
  return shown.length > 0 && shown.every((one) => one !== null) ? shown : null;
}

function shownOf(line: number, { image, audio, ...rest }: Fields): Shown | null {
  const media = mediaUrl(image ?? audio);
  return media && { line, media, answers: Object.values(rest).flat().map(String) };
}

/** Images in a grid or audio in a list, each with its labels. */
export function MediaGallery({ items }: { items: readonly Shown[] }) {
  return (
    <ol className="gallery">
      {items.map(({ line, media, answers }) => (
        <li key={line} id={`line-${line}`}>
          <Media media={media} what={`${answers.join(', ') || 'no label'}, line ${line}`} />
          <p>
            {answers.map((answer, i) => (
              <span key={i} className="answer">
                {answer}
              </span>
            ))}
            <span className="faint numbers">line {count(line)}</span>
          </p>
        </li>
      ))}
    </ol>
  );
}
