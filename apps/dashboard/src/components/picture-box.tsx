import { useEffect, useRef, useState, type DragEvent } from 'react';
import { api } from '../api.js';
import { modelTitle } from '../format.js';
import { mediaUrl } from '../media-url.js';
import { Failure } from './failure.js';
import { Share, type Label } from './ask-box.js';
import { Media } from './media.js';

const MOST_LABELS = 5;

interface Shown {
  readonly key: number;
  readonly name: string;
  readonly url: string;
  /** Of each model, in their order; null until it has answered. */
  readonly answers: readonly (Label | Error | null)[];
}

/** Pictures dropped or chosen, and what each model says of them. */
export function PictureBox({ models }: { models: readonly string[] }) {
  const [shown, setShown] = useState<readonly Shown[]>([]);
  const next = useRef(0);
  const stop = useRef<AbortController | null>(null);
  useEffect(() => () => stop.current?.abort(), []);
  const ask = async (file: File) => {
    const key = next.current++;
    stop.current ??= new AbortController();
    const { signal } = stop.current;
    const url = await dataUrlOf(file);
    setShown((now) => [{ key, name: file.name, url, answers: models.map(() => null) }, ...now]);
    await Promise.all(
      models.map(async (model, at) => {
        const answer = await api
          .classifyFile(model, file, signal)
          .then(([one]) => one ?? {})
          .catch((error: Error) => error);
        setShown((now) =>
          now.map((one) =>
            one.key === key ? { ...one, answers: one.answers.with(at, answer) } : one,
          ),
        );
      }),
    );
  };
  const take = (files: Iterable<File>) => {
    for (const file of files) void ask(file);
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  };
  return (
    <div onDragOver={(event) => event.preventDefault()} onDrop={drop}>
      <div className="dropping">
        <input
          id="pictures"
          className="unseen"
          type="file"
          accept="image/jpeg,image/png,image/gif,image/webp"
          multiple
          onChange={(event) => {
            take(event.target.files ?? []);
            event.target.value = ''; // the same picture may be asked for again
          }}
        />
        <label htmlFor="pictures" className="button main">
          Choose pictures…
        </label>
        <span className="faint">or drop them here: JPEG, PNG, GIF or WebP</span>
      </div>
      <div role="status" aria-label="Answers">
        <ol className="pictured">
          {shown.map((one) => (
            <Pictured key={one.key} shown={one} models={models} />
          ))}
        </ol>
      </div>
    </div>
  );
}

interface PicturedProps {
  readonly shown: Shown;
  readonly models: readonly string[];
}

function Pictured({ shown: { name, url, answers }, models }: PicturedProps) {
  const media = mediaUrl(url);
  return (
    <li className="card">
      <figure>
        {media?.medium === 'image' ? (
          <Media media={media} what={name} />
        ) : (
          <p className="bad">This is no picture.</p>
        )}
        <figcaption className="break faint">{name}</figcaption>
      </figure>
      <div className="said-of">
        {models.map((model, at) => (
          <section key={model} aria-label={model}>
            {models.length > 1 && <h2 className="break">{modelTitle(model)}</h2>}
            <Answer answer={answers[at] ?? null} />
          </section>
        ))}
      </div>
    </li>
  );
}

function Answer({ answer }: { answer: Label | Error | null }) {
  if (answer === null) return <p className="faint">Looking at it…</p>;
  if (answer instanceof Error) return <Failure error={answer} />;
  const { label, labels, probabilities } = answer;
  const said = typeof label === 'string' ? label : Array.isArray(labels) ? labels.join(', ') : null;
  return (
    <>
      <p>
        <b className="break">{said === null ? JSON.stringify(answer) : said || 'none'}</b>
      </p>
      <ul className="shares">
        {likeliest(probabilities).map(([name, probability]) => (
          <li key={name}>
            <span>{name}</span>
            <Share value={probability} />
          </li>
        ))}
      </ul>
    </>
  );
}

/** Labels by their probability, most first. */
export function likeliest(probabilities: unknown): readonly (readonly [string, number])[] {
  const all = Object.entries((probabilities ?? {}) as Readonly<Record<string, number>>);
  return all.sort(([, a], [, b]) => b - a).slice(0, MOST_LABELS);
}

const dataUrlOf = (file: File): Promise<string> =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error ?? new Error(`${file.name} cannot be read`));
    reader.readAsDataURL(file);
  });
