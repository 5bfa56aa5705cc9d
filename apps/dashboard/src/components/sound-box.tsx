import type { ErrorBody, TranscriptionEvent } from '@graft/contracts';
import { useEffect, useRef, useState, type DragEvent, type ReactNode } from 'react';
import { api, ApiError } from '../api.js';
import { modelTitle } from '../format.js';
import { mediaUrl } from '../media-url.js';
import { readEvents } from '../sse.js';
import type { Label } from './ask-box.js';
import { Failure } from './failure.js';
import { Media } from './media.js';
import { dataUrlOf, Labels } from './picture-box.js';
import { RecordButton } from './record-button.js';

/** Says what a model makes of a sound, more than once where it comes in parts. */
type Ask<T> = (
  model: string,
  file: File,
  tell: (answer: T) => void,
  signal: AbortSignal,
) => Promise<void>;

interface Heard<T> {
  readonly key: number;
  readonly name: string;
  readonly url: string;
  /** Of each model, in their order; null until it has said something. */
  readonly answers: readonly (T | Error | null)[];
}

interface BoxProps<T> {
  readonly models: readonly string[];
  readonly ask: Ask<T>;
  readonly show: (answer: T | null) => ReactNode;
}

/** Asks all models of a sound, and keeps what they say. */
function useHeard<T>(models: readonly string[], ask: Ask<T>) {
  const [heard, setHeard] = useState<readonly Heard<T>[]>([]);
  const next = useRef(0);
  const left = useRef(new AbortController());
  useEffect(() => {
    const now = (left.current = new AbortController());
    return () => now.abort();
  }, []);
  const hear = async (file: File) => {
    const key = next.current++;
    const { signal } = left.current;
    const url = await dataUrlOf(file);
    setHeard((now) => [{ key, name: file.name, url, answers: models.map(() => null) }, ...now]);
    const set = (at: number, answer: T | Error) =>
      setHeard((now) =>
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
  return { heard, hear };
}

/** Sounds dropped, chosen or recorded, and what each model says of them. */
function SoundBox<T>({ models, ask, show }: BoxProps<T>) {
  const { heard, hear } = useHeard(models, ask);
  const [failure, setFailure] = useState<Error | null>(null);
  const take = (files: Iterable<File>) => {
    setFailure(null);
    for (const file of files) hear(file).catch(setFailure);
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  };
  return (
    <div onDragOver={(event) => event.preventDefault()} onDrop={drop}>
      <div className="dropping">
        <input
          id="sounds"
          className="unseen"
          type="file"
          accept="audio/wav,audio/x-wav,audio/flac,audio/x-flac,.wav,.flac"
          multiple
          onChange={(event) => {
            take(event.target.files ?? []);
            event.target.value = ''; // the same sound may be asked for again
          }}
        />
        <label htmlFor="sounds" className="button main">
          Choose sounds…
        </label>
        <RecordButton onSound={(file) => take([file])} onError={setFailure} />
        <span className="faint">
          or drop them here: WAV or FLAC of at most 11 MiB and ten minutes
        </span>
      </div>
      <Failure error={failure} />
      <ol className="pictured" aria-label="Answers">
        {heard.map((one) => (
          <HeardSound key={one.key} heard={one} models={models} show={show} />
        ))}
      </ol>
    </div>
  );
}

interface HeardProps<T> extends Pick<BoxProps<T>, 'models' | 'show'> {
  readonly heard: Heard<T>;
}

function HeardSound<T>({ heard: { name, url, answers }, models, show }: HeardProps<T>) {
  return (
    <li className="card">
      <figure>
        <Played url={url} name={name} />
        <figcaption className="break faint">{name}</figcaption>
      </figure>
      <div className="said-of">
        {models.map((model, at) => {
          const answer = answers[at] ?? null;
          return (
            <section key={model} aria-label={model} aria-live="polite">
              {models.length > 1 && <h2 className="break">{modelTitle(model)}</h2>}
              {answer instanceof Error ? <Failure error={answer} /> : show(answer)}
            </section>
          );
        })}
      </div>
    </li>
  );
}

function Played({ url, name }: { url: string; name: string }) {
  const media = mediaUrl(url);
  if (media?.medium === 'audio') return <Media media={media} what={name} />;
  return <p className="bad">This is no sound.</p>;
}

const Waiting = () => <p className="faint">Listening…</p>;

/** Labels of sounds. */
export function SoundLabelBox({ models }: { models: readonly string[] }) {
  return (
    <SoundBox<Label>
      models={models}
      ask={async (model, file, tell, signal) => {
        const [answer] = await api.classifyFile(model, file, signal);
        tell(answer ?? {});
      }}
      show={(answer) => (answer === null ? <Waiting /> : <Labels answer={answer} />)}
    />
  );
}

interface Transcript {
  readonly text: string;
  readonly isWhole: boolean;
}

/** What is said in sounds, as it is written. */
export function TranscriptBox({ models }: { models: readonly string[] }) {
  return (
    <SoundBox<Transcript>
      models={models}
      ask={transcribed}
      show={(answer) =>
        answer === null ? (
          <Waiting />
        ) : (
          <p className="break" aria-busy={!answer.isWhole}>
            {answer.text || (answer.isWhole ? <i>nothing</i> : '')}
          </p>
        )
      }
    />
  );
}

const transcribed: Ask<Transcript> = async (model, file, tell, signal) => {
  let text = '';
  let failure: Error | null = null;
  let isWhole = false;
  await readEvents(await api.transcribe(model, file, signal), ({ data }) => {
    if (data === '[DONE]') return;
    const event = JSON.parse(data) as TranscriptionEvent | ErrorBody;
    if ('error' in event) {
      const { message, param, code } = event.error;
      failure = new ApiError(500, message, param, code);
      return;
    }
    isWhole = event.type === 'transcript.text.done';
    text = event.type === 'transcript.text.done' ? event.text : text + event.delta;
    tell({ text, isWhole });
  });
  if (failure !== null) throw failure as Error;
  if (!isWhole) throw new Error('The connection was cut before the transcript was whole.');
};
