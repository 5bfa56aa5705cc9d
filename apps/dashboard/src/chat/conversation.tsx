import {
  Fragment,
  lazy,
  Suspense,
  useEffect,
  useMemo,
  useRef,
  useState,
  type FormEvent,
} from 'react';
import { ApiError, request } from '../api/request.js';
import { modelTitle } from '../format.js';
import { readEvents } from '../api/sse.js';
import { ChatPanel } from './chat-panel.js';
import { chatBody, settingsProblem, type ChatSettings } from './chat-settings.js';
import './workbench.css';

/** Loaded with the first answer, because no other page needs it. */
const Markdown = lazy(async () => ({ default: (await import('./markdown.js')).Markdown }));

interface Turn {
  readonly role: 'user' | 'assistant';
  readonly content: string;
  /** Error, if the answer is missing or incomplete. */
  readonly problem?: string;
  /** Whether a retry may succeed. */
  readonly again?: boolean;
  readonly figures?: Figures;
}

/** Speed of an answer. */
interface Figures {
  readonly firstSeconds: number;
  readonly tokens: number;
  readonly tokensPerSecond: number | null;
  readonly isCut: boolean;
}

interface Chunk {
  readonly choices?: readonly {
    readonly delta?: { readonly content?: string };
    readonly finish_reason?: string | null;
  }[];
  readonly usage?: { readonly completion_tokens: number } | null;
  readonly error?: { readonly message: string; readonly code?: string | null };
}

/** Codes of temporary errors, unless the API asks for a long wait. */
const PASSING = ['queue_full', 'insufficient_quota', 'no_worker', 'rate_limit_exceeded'];
const PATIENCE_SECONDS = 120;

/** Returns the error message for the user, and whether to offer a retry. */
function problemOf(error: Error): Pick<Turn, 'problem' | 'again'> {
  if (!(error instanceof ApiError)) return { problem: error.message, again: true };
  const again = PASSING.includes(error.code ?? '') && (error.retryAfter ?? 0) <= PATIENCE_SECONDS;
  const problem =
    error.code === 'queue_full'
      ? 'Every worker is busy with other chats. Try again in a moment.'
      : `${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.`.replace('..', '.');
  return { problem, again };
}

/** Streams one answer. `onText` receives the text so far. */
async function answer(
  body: object,
  onText: (text: string) => void,
  signal: AbortSignal,
): Promise<Figures | undefined> {
  const began = performance.now();
  const response = await request('/chat/completions', {
    method: 'POST',
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
    headers: { 'content-type': 'application/json' },
  });
  let text = '';
  let first: number | null = null;
  let tokens: number | null = null;
  let isCut = false;
  await readEvents(response, ({ data }) => {
    if (data === '[DONE]') return;
    const chunk = JSON.parse(data) as Chunk;
    if (chunk.error)
      throw new ApiError(response.status, chunk.error.message, null, chunk.error.code ?? null);
    const [choice] = chunk.choices ?? [];
    const more = choice?.delta?.content ?? '';
    if (more !== '') first ??= performance.now();
    isCut ||= choice?.finish_reason === 'length';
    tokens = chunk.usage?.completion_tokens ?? tokens;
    text += more;
    onText(text);
  });
  if (first === null || tokens === null) return undefined;
  const seconds = (performance.now() - first) / 1000;
  return {
    firstSeconds: (first - began) / 1000,
    tokens,
    // The first token is not part of the rate.
    tokensPerSecond: tokens > 1 && seconds > 0 ? (tokens - 1) / seconds : null,
    isCut,
  };
}

/** Conversation with several models side by side. */
function useConversation(models: readonly string[], settings: ChatSettings) {
  const [turns, setTurns] = useState<readonly Turn[][]>(models.map(() => []));
  const [busy, setBusy] = useState(false);
  const stop = useRef<AbortController | null>(null);
  useEffect(() => () => stop.current?.abort(), []);

  /** Requests answers for the given sides, each with its own history. */
  const answers = async (sides: readonly number[], histories: readonly (readonly Turn[])[]) => {
    setBusy(true);
    stop.current = new AbortController();
    const { signal } = stop.current;
    const last = (i: number, change: (turn: Turn) => Turn) =>
      setTurns((now) =>
        now.map((side, j) => (j === i ? side.with(-1, change(side.at(-1)!)) : side)),
      );
    setTurns(
      histories.map((side, i) =>
        sides.includes(i) ? [...side, { role: 'assistant', content: '' }] : [...side],
      ),
    );
    const ask = (i: number) =>
      answer(
        chatBody(models[i] ?? '', histories[i] ?? [], settings),
        (content) => last(i, (turn) => ({ ...turn, content })),
        signal,
      ).then(
        (figures) => last(i, (turn) => (figures ? { ...turn, figures } : turn)),
        (error: Error) =>
          last(i, (turn) => ({
            ...turn,
            ...(signal.aborted ? { problem: 'stopped' } : problemOf(error)),
          })),
      );
    await Promise.all(sides.map(ask));
    setBusy(false);
  };
  const send = (content: string) =>
    void answers(
      [...models.keys()],
      turns.map((side): Turn[] => [...side, { role: 'user', content }]),
    );
  const again = (i: number) =>
    void answers(
      [i],
      turns.map((side, j) => (j === i ? side.slice(0, -1) : side)),
    );
  const clear = () => {
    stop.current?.abort();
    setTurns(models.map(() => []));
  };
  return { turns, busy, send, again, stop: () => stop.current?.abort(), clear };
}

interface ConversationProps {
  readonly models: readonly string[];
  readonly settings: ChatSettings;
  readonly setSettings: (settings: ChatSettings) => void;
}

/** A chat that sends the same messages to all models, side by side. */
export function Conversation({ models, settings, setSettings }: ConversationProps) {
  const { turns, busy, send, again, stop, clear } = useConversation(models, settings);
  const [text, setText] = useState('');
  const wrong = useMemo(() => settingsProblem(settings), [settings]);
  const next = [...(turns[0] ?? []), { role: 'user' as const, content: text || 'Hello' }];
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (wrong) return;
    setText('');
    send(text);
  };
  return (
    <div className="workbench">
      <div>
        <div className="sides">
          {models.map((name, i) => (
            <section key={name} className="card" aria-label={name}>
              <h2 className="break">{modelTitle(name)}</h2>
              {modelTitle(name) !== name && <p className="faint break">{name}</p>}
              {/* Announced when complete, not word by word. */}
              <div role="log" aria-label={`Answers from ${modelTitle(name)}`} aria-busy={busy}>
                <Answers
                  turns={turns[i] ?? []}
                  busy={busy}
                  again={() => again(i)}
                  markdown={settings.markdown}
                />
              </div>
            </section>
          ))}
        </div>
        <form className="bar" onSubmit={submit}>
          <input
            className="wide"
            aria-label="Message"
            required
            autoFocus
            value={text}
            onChange={(e) => setText(e.target.value)}
            placeholder={models.length > 1 ? 'Type a message for both models' : 'Type a message'}
          />
          {busy ? (
            <button type="button" onClick={stop}>
              Stop
            </button>
          ) : (
            <button className="main" disabled={wrong !== null}>
              Send
            </button>
          )}
          <button type="button" disabled={busy} onClick={clear}>
            Clear
          </button>
        </form>
      </div>
      <ChatPanel
        settings={settings}
        change={setSettings}
        wrong={wrong}
        body={wrong ? null : chatBody(models[0] ?? '', next, settings)}
      />
    </div>
  );
}

interface AnswersProps {
  readonly turns: readonly Turn[];
  readonly busy: boolean;
  readonly again: () => void;
  readonly markdown: boolean;
}

function Answers({ turns, busy, again, markdown }: AnswersProps) {
  if (turns.length === 0) return <p className="faint">No messages yet.</p>;
  return turns.map((turn, n) => {
    const waiting = busy && n === turns.length - 1 && !turn.problem;
    const isDrawn = markdown && turn.role === 'assistant' && turn.content !== '';
    return (
      <Fragment key={n}>
        <div className={`turn ${turn.role}`}>
          <b>{turn.role === 'user' ? 'You' : 'Model'}</b>{' '}
          {isDrawn ? (
            <Suspense fallback={turn.content}>
              <Markdown text={turn.content} />
            </Suspense>
          ) : (
            turn.content
          )}
          {waiting && '…'}
          {turn.role === 'assistant' && !turn.content && !waiting && !turn.problem && (
            <span className="faint">(empty response)</span>
          )}
          {turn.problem && (
            <span className="bad" role={turn.problem === 'stopped' ? undefined : 'alert'}>
              {' '}
              {turn.problem}
            </span>
          )}
          {turn.again && !busy && n === turns.length - 1 && (
            <>
              {' '}
              <button className="small" onClick={again}>
                Try again
              </button>
            </>
          )}
        </div>
        {turn.figures && <Speed figures={turn.figures} />}
      </Fragment>
    );
  });
}

function Speed({
  figures: { firstSeconds, tokens, tokensPerSecond, isCut },
}: {
  figures: Figures;
}) {
  const parts = [
    `first token after ${firstSeconds.toFixed(2)} s`,
    ...(tokensPerSecond === null ? [] : [`${tokensPerSecond.toFixed(1)} tokens/s`]),
    `${tokens} token${tokens === 1 ? '' : 's'}${isCut ? ', truncated at max tokens' : ''}`,
  ];
  return <p className="faint figures">{parts.join(' · ')}</p>;
}
