import { Upload } from 'lucide-react';
import { useEffect, useRef, useState, type DragEvent, type ReactNode } from 'react';
import { modelTitle } from '../../format.js';
import { FIRST_BYTES, mediaType, mediaUrl, type MediaUrl } from '../../media/media-url.js';
import { Media } from '../../media/media.js';
import { Callout } from '../../ui/feedback/callout.js';
import { Skeleton } from '../../ui/feedback/skeleton.js';
import { RequestProblem } from '../sides.js';
import type { ModelAnswer } from '../use-answers.js';
import './media-box.css';

/** Sends an image or audio file to a model. Calls `onAnswer` once, or repeatedly for streamed answers. */
export type Ask<T> = (
  model: string,
  file: File,
  onAnswer: (answer: T) => void,
  signal: AbortSignal,
) => Promise<void>;

/** A file that was sent, with the answers of the models. */
export interface MediaInput<T> {
  readonly key: number;
  readonly file: File;
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
}

/** Context in which an answer is shown. */
interface Shown<T> {
  readonly input: MediaInput<T>;
  readonly model: string;
  /** Answer of the same model to the input that the others are compared with. */
  readonly reference: T;
}

interface BoxProps<T> {
  readonly kind: MediaKind;
  readonly models: readonly string[];
  readonly ask: Ask<T>;
  readonly show: (answer: T, of: Shown<T>) => ReactNode;
  /** Renders another way to provide a file, next to the button. */
  readonly extraButton?: (take: (file: File) => void, fail: (error: Error) => void) => ReactNode;
  /** Whether the user can choose the input that the others are compared with. */
  readonly isCompared?: boolean;
  /** Draws the file. The default is a thumbnail or a player. */
  readonly draw?: (input: MediaInput<T>, media: MediaUrl) => ReactNode;
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
  const send = async ({ key, file }: Pick<MediaInput<T>, 'key' | 'file'>) => {
    const { signal } = controller.current;
    const set = (at: number, answer: T | Error | null) =>
      setInputs((now) =>
        now.map((one) =>
          one.key === key ? { ...one, answers: one.answers.with(at, answer) } : one,
        ),
      );
    await Promise.all(
      models.map((model, at) => {
        set(at, null);
        return ask(model, file, (answer) => set(at, answer), signal).catch((error: Error) => {
          if (!signal.aborted) set(at, error);
        });
      }),
    );
  };
  const submit = async (file: File) => {
    const key = next.current++;
    const url = await dataUrlOf(file);
    setInputs((now) => [{ key, file, url, answers: models.map(() => null) }, ...now]);
    await send({ key, file });
  };
  return { inputs, submit, send };
}

/** Calls back with files that are pasted anywhere on the page. */
function usePaste(take: (files: readonly File[]) => void): void {
  const latest = useRef(take);
  latest.current = take;
  useEffect(() => {
    const pasted = ({ clipboardData }: ClipboardEvent) => {
      const files = [...(clipboardData?.files ?? [])];
      if (files.length > 0) latest.current(files);
    };
    addEventListener('paste', pasted);
    return () => removeEventListener('paste', pasted);
  }, []);
}

/** Accepts images or audio that are dropped, pasted, chosen or recorded, and shows each model's answers. */
export function MediaBox<T>(props: BoxProps<T>) {
  const { kind, models, ask, extraButton } = props;
  const { inputs, submit, send } = useInputs(models, ask);
  const [failure, setFailure] = useState<Error | null>(null);
  const [reference, setReference] = useState<number | null>(null);
  const [over, setOver] = useState(false);
  const take = (files: Iterable<File>) => {
    setFailure(null);
    for (const file of files) submit(file).catch(setFailure);
  };
  usePaste(take);
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer.files);
  };
  const compared = inputs.find(({ key }) => key === reference) ?? inputs.at(-1);
  return (
    <div
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={drop}
    >
      <div className={over ? 'dropping over' : 'dropping'}>
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
          <Upload className="lucide" /> Choose {kind.plural}…
        </label>
        {extraButton?.((file) => take([file]), setFailure)}
        <span className="faint">or drop or paste them here: {kind.hint}</span>
      </div>
      {failure && <Callout tone="error">{failure.message}</Callout>}
      <div role="status" aria-atomic="false" aria-label="Answers">
        <ol className="media-answers" aria-label="Answers">
          {inputs.map((one) => (
            <InputCard
              key={one.key}
              {...props}
              input={one}
              reference={compared ?? one}
              again={() => void send(one)}
              compare={() => setReference(one.key)}
            />
          ))}
        </ol>
      </div>
    </div>
  );
}

interface InputCardProps<T> extends BoxProps<T> {
  readonly input: MediaInput<T>;
  readonly reference: MediaInput<T>;
  readonly again: () => void;
  readonly compare: () => void;
}

function InputCard<T>(props: InputCardProps<T>) {
  const { input, reference, kind, models, show, again, compare, isCompared = false, draw } = props;
  const media = mediaUrl(input.url);
  const { name } = input.file;
  return (
    <li className="card">
      <figure>
        {media?.medium === kind.medium ? (
          (draw?.(input, media) ?? <Media media={media} what={name} />)
        ) : (
          <p className="bad">This file is not {kind.one}.</p>
        )}
        <figcaption className="break faint">{name}</figcaption>
        {isCompared &&
          (input === reference ? (
            <span className="badge">Others are compared with it</span>
          ) : (
            <button type="button" className="small" onClick={compare}>
              Compare with it
            </button>
          ))}
      </figure>
      <div className="model-answers">
        {models.map((model, at) => {
          const answer = input.answers[at] ?? null;
          const other = reference.answers[at] ?? null;
          return (
            <section key={model} aria-label={`${modelTitle(model)} on ${name}`}>
              {models.length > 1 && <h2 className="answer-of">{modelTitle(model)}</h2>}
              {answer === null ? (
                <Skeleton height={72} />
              ) : answer instanceof Error ? (
                <RequestProblem error={answer} again={again} />
              ) : (
                show(answer, {
                  input,
                  model,
                  reference: other === null || other instanceof Error ? answer : other,
                })
              )}
            </section>
          );
        })}
      </div>
    </li>
  );
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
