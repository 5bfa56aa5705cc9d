import { useEffect, useRef, useState, type DragEvent, type ReactNode } from 'react';
import { api } from '../api.js';
import { modelTitle } from '../format.js';
import { mediaUrl } from '../media-url.js';
import { Failure } from './failure.js';
import { cosine, Share, type Label } from './ask-box.js';
import { Media } from './media.js';

const MOST_LABELS = 5;

interface Shown<T> {
  readonly key: number;
  readonly name: string;
  readonly url: string;
  /** Of each model, in their order; null until it has answered. */
  readonly answers: readonly (T | Error | null)[];
}

type Vector = readonly number[];

/** Of pictures their labels. */
export const LabelledPictures = ({ models }: { models: readonly string[] }) => (
  <PictureBox<Label>
    models={models}
    ask={async (model, file, signal) => (await api.classifyFile(model, file, signal))[0] ?? {}}
    says={(answer) => <Labels answer={answer} />}
  />
);

/** Vectors say little to a person: how near each picture is to the first. */
export const ComparedPictures = ({ models }: { models: readonly string[] }) => (
  <PictureBox<Vector>
    models={models}
    ask={async (model, file, signal) => (await api.embedFile(model, file, signal))[0] ?? []}
    says={(vector, first) => (
      <p>
        Cosine to the first: <Share value={cosine(first, vector)} />
      </p>
    )}
  />
);

interface BoxProps<T> {
  readonly models: readonly string[];
  readonly ask: (model: string, file: File, signal: AbortSignal) => Promise<T>;
  /** @param first of the picture that was first, of the same model */
  readonly says: (answer: T, first: T) => ReactNode;
}

/** Pictures dropped or chosen, and what each model says of them. */
function PictureBox<T>({ models, ask: asked, says }: BoxProps<T>) {
  const [shown, setShown] = useState<readonly Shown<T>[]>([]);
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
        const answer = await asked(model, file, signal).catch((error: Error) => error);
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
            <Pictured
              key={one.key}
              shown={one}
              first={shown.at(-1) ?? one}
              models={models}
              says={says}
            />
          ))}
        </ol>
      </div>
    </div>
  );
}

interface PicturedProps<T> extends Pick<BoxProps<T>, 'models' | 'says'> {
  readonly shown: Shown<T>;
  readonly first: Shown<T>;
}

function Pictured<T>({ shown: { name, url, answers }, first, models, says }: PicturedProps<T>) {
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
            <Answer answer={answers[at] ?? null} first={first.answers[at] ?? null} says={says} />
          </section>
        ))}
      </div>
    </li>
  );
}

interface AnswerProps<T> extends Pick<BoxProps<T>, 'says'> {
  readonly answer: T | Error | null;
  readonly first: T | Error | null;
}

function Answer<T>({ answer, first, says }: AnswerProps<T>) {
  if (answer === null) return <p className="faint">Looking at it…</p>;
  if (answer instanceof Error) return <Failure error={answer} />;
  return says(answer, first === null || first instanceof Error ? answer : first);
}

/** What a model says of one picture or sound. */
export function Labels({ answer }: { answer: Label }) {
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

export const dataUrlOf = (file: File): Promise<string> =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error ?? new Error(`${file.name} cannot be read`));
    reader.readAsDataURL(file);
  });
