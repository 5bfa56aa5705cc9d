import { useEffect, useRef, useState, type DragEvent, type ReactNode } from 'react';
import { modelTitle } from '../format.js';
import { FIRST_BYTES, mediaType, mediaUrl, type MediaUrl } from '../media/media-url.js';
import { Share, type Label } from './ask-box.js';
import { Failure } from '../ui/failure.js';
import { Media } from '../media/media.js';

const MAX_LABELS = 5;

/** Sends an image or audio file to a model. Calls `onAnswer` once, or repeatedly for streamed answers. */
export type Ask<T> = (
  model: string,
  file: File,
  onAnswer: (answer: T) => void,
  signal: AbortSignal,
) => Promise<void>;

/** Answer of a model. Null until the first part arrives. */
type ModelAnswer<T> = T | Error | null;

interface MediaInput<T> {
  readonly key: number;
  readonly name: string;
  readonly url: string;
  /** One entry per model, in the same order. */
  readonly answers: readonly ModelAnswer<T>[];
}

/** Kind of input that a box accepts, with its texts. */
export interface MediaKind {
  readonly medium: MediaUrl['medium'];
  /** The file input's `accept` attribute. */
  readonly accept: string;
  /** Plural noun, as in "Choose images…". */
  readonly plural: string;
  /** Noun with its article, as in "This file is not an image." */
  readonly one: string;
  readonly hint: string;
  readonly waiting: string;
}

interface BoxProps<T> {
  readonly kind: MediaKind;
  readonly models: readonly string[];
  readonly ask: Ask<T>;
  /** @param first answer of the same model to the first input */
  readonly show: (answer: T, first: T) => ReactNode;
  /** Renders another way to provide a file, next to the button. */
  readonly extraButton?: (take: (file: File) => void, fail: (error: Error) => void) => ReactNode;
}

/** Sends files to all models and stores their answers. */
function useInputs<T>(models: readonly string[], ask: Ask<T>) {
  const [inputs, setInputs] = useState<readonly MediaInput<T>[]>([]);
  const next = useRef(0);
  const controller = useRef(new AbortController());
  useEffect(() => {
    const now = (controller.current = new AbortController());
    return () => now.abort();
  }, []);
  const submit = async (file: File) => {
    const key = next.current++;
    const { signal } = controller.current;
    const url = await dataUrlOf(file);
    setInputs((now) => [{ key, name: file.name, url, answers: models.map(() => null) }, ...now]);
    const set = (at: number, answer: T | Error) =>
      setInputs((now) =>
        now.map((one) =>
          one.key === key ? { ...one, answers: one.answers.with(at, answer) } : one,
        ),
      );
    await Promise.all(
      models.map((model, at) =>
        ask(model, file, (answer) => set(at, answer), signal).catch((error: Error) => {
          if (!signal.aborted) set(at, error);
        }),
      ),
    );
  };
  return { inputs, submit };
}

/** Accepts images or audio that are dropped, chosen or recorded, and shows each model's answers. */
export function MediaBox<T>({ kind, models, ask, show, extraButton }: BoxProps<T>) {
  const { inputs, submit } = useInputs(models, ask);
  const [failure, setFailure] = useState<Error | null>(null);
  const take = (files: Iterable<File>) => {
    setFailure(null);
    for (const file of files) submit(file).catch(setFailure);
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  };
  return (
    <div onDragOver={(event) => event.preventDefault()} onDrop={drop}>
      <div className="dropping">
        <input
          id="media"
          className="unseen"
          type="file"
          accept={kind.accept}
          multiple
          onChange={(event) => {
            take(event.target.files ?? []);
            event.target.value = ''; // Allows the same file to be chosen again.
          }}
        />
        <label htmlFor="media" className="button main">
          Choose {kind.plural}…
        </label>
        {extraButton?.((file) => take([file]), setFailure)}
        <span className="faint">or drop them here: {kind.hint}</span>
      </div>
      <Failure error={failure} />
      <div role="status" aria-atomic="false" aria-label="Answers">
        <ol className="media-answers" aria-label="Answers">
          {inputs.map((one) => (
            <InputCard
              key={one.key}
              input={one}
              first={inputs.at(-1) ?? one}
              kind={kind}
              models={models}
              show={show}
            />
          ))}
        </ol>
      </div>
    </div>
  );
}

interface InputCardProps<T> extends Pick<BoxProps<T>, 'kind' | 'models' | 'show'> {
  readonly input: MediaInput<T>;
  readonly first: MediaInput<T>;
}

function InputCard<T>({
  input: { name, url, answers },
  first,
  kind,
  models,
  show,
}: InputCardProps<T>) {
  const media = mediaUrl(url);
  return (
    <li className="card">
      <figure>
        {media?.medium === kind.medium ? (
          <Media media={media} what={name} />
        ) : (
          <p className="bad">This file is not {kind.one}.</p>
        )}
        <figcaption className="break faint">{name}</figcaption>
      </figure>
      <div className="model-answers">
        {models.map((model, at) => (
          <section key={model} aria-label={`${model} on ${name}`}>
            {models.length > 1 && <h2 className="break">{modelTitle(model)}</h2>}
            <Answer
              answer={answers[at] ?? null}
              first={first.answers[at] ?? null}
              waiting={kind.waiting}
              show={show}
            />
          </section>
        ))}
      </div>
    </li>
  );
}

interface AnswerProps<T> extends Pick<BoxProps<T>, 'show'> {
  readonly answer: ModelAnswer<T>;
  readonly first: ModelAnswer<T>;
  readonly waiting: string;
}

function Answer<T>({ answer, first, waiting, show }: AnswerProps<T>) {
  if (answer === null) return <p className="faint">{waiting}</p>;
  if (answer instanceof Error) return <Failure error={answer} />;
  return show(answer, first === null || first instanceof Error ? answer : first);
}

/** Labels that a model assigns to one image or audio file. */
export function Labels({ answer }: { answer: Label }) {
  const { label, labels, probabilities } = answer;
  const text = typeof label === 'string' ? label : Array.isArray(labels) ? labels.join(', ') : null;
  return (
    <>
      <p>
        <b className="break">{text === null ? JSON.stringify(answer) : text || 'none'}</b>
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

/** Returns labels sorted by probability, highest first. */
function likeliest(probabilities: unknown): readonly (readonly [string, number])[] {
  const all = Object.entries((probabilities ?? {}) as Readonly<Record<string, number>>);
  return all.sort(([, a], [, b]) => b - a).slice(0, MAX_LABELS);
}

async function dataUrlOf(file: File): Promise<string> {
  const first = new Uint8Array(await file.slice(0, FIRST_BYTES).arrayBuffer());
  const shown = new Blob([file], { type: mediaType(first) ?? file.type });
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error ?? new Error(`${file.name} cannot be read`));
    reader.readAsDataURL(shown);
  });
}
