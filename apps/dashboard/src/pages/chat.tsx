import type { ModelObject } from '@graft/contracts';
import { useEffect, useRef, useState, type FormEvent } from 'react';
import { api, request } from '../api.js';
import { useLoaded } from '../loading.js';
import { Loading } from '../parts/loading.js';
import { Failure } from '../parts/failure.js';
import { readEvents } from '../sse.js';
import { modelTitle } from '../wording.js';

interface Turn {
  readonly role: 'user' | 'assistant';
  readonly content: string;
  /** Why there is no (whole) answer. */
  readonly problem?: string;
}

interface Chunk {
  readonly choices?: readonly { readonly delta?: { readonly content?: string } }[];
  readonly error?: { readonly message: string };
}

/** Streams one answer of a model; `onText` gets the text so far. */
async function answer(
  model: string,
  turns: readonly Turn[],
  onText: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const messages = turns
    .filter((turn) => turn.content !== '')
    .map(({ role, content }) => ({ role, content }));
  const body = JSON.stringify({ model, messages, stream: true, temperature: 0, max_tokens: 256 });
  const response = await request('/chat/completions', {
    method: 'POST',
    body,
    signal,
    headers: { 'content-type': 'application/json' },
  });
  let text = '';
  await readEvents(response, ({ data }) => {
    if (data === '[DONE]') return;
    const chunk = JSON.parse(data) as Chunk;
    if (chunk.error) throw new Error(chunk.error.message);
    text += chunk.choices?.[0]?.delta?.content ?? '';
    onText(text);
  });
}

/** A finished model beside its base: the same words go to both. */
export function ChatPage({ model }: { model: string | null }) {
  const models = useLoaded(async () =>
    (await api.models()).data.filter((m) => (m.graft?.status ?? 'ready') === 'ready'),
  );
  // A checkpoint is a model that no list has.
  const named = useLoaded(async () => (model ? await api.model(model) : null));
  const [chosen, setChosen] = useState(model ?? '');
  const [beside, setBeside] = useState(true);
  const list: readonly ModelObject[] = models.value ?? [];
  const current = chosen || (list.find((m) => m.graft?.kind !== 'base') ?? list[0])?.id;
  const known = named.value ? [...list, named.value] : list;
  const base = known.find((m) => m.id === current)?.graft?.base ?? null;
  const ready = models.value !== null && (!model || named.value !== null || named.error !== null);
  const names = list.map((m) => m.id);
  const sides = ready && current ? [current, ...(beside && base ? [base] : [])] : [];
  return (
    <main>
      <h1>Chat</h1>
      <Failure error={models.error ?? named.error} />
      {!ready && <Loading error={models.error} />}
      <div className="bar">
        <label htmlFor="model">Model</label>
        <select id="model" value={current ?? ''} onChange={(e) => setChosen(e.target.value)}>
          {[...new Set(current ? [...names, current] : names)].map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
        {base && (
          <label>
            <input type="checkbox" checked={beside} onChange={(e) => setBeside(e.target.checked)} />{' '}
            compare with its base
          </label>
        )}
      </div>
      {sides.length > 0 ? (
        <Conversation key={sides.join()} models={sides} />
      ) : (
        ready && <p className="faint">No model is ready yet: import a base under Models.</p>
      )}
    </main>
  );
}

function Conversation({ models }: { models: readonly string[] }) {
  const [turns, setTurns] = useState<readonly Turn[][]>(models.map(() => []));
  const [text, setText] = useState('');
  const [busy, setBusy] = useState(false);
  const stop = useRef<AbortController | null>(null);
  useEffect(() => () => stop.current?.abort(), []);

  const send = async (event: FormEvent) => {
    event.preventDefault();
    const asked = turns.map((side): Turn[] => [...side, { role: 'user', content: text }]);
    setTurns(asked.map((side) => [...side, { role: 'assistant', content: '' }]));
    setText('');
    setBusy(true);
    stop.current = new AbortController();
    const { signal } = stop.current;
    const last = (i: number, change: (turn: Turn) => Turn) =>
      setTurns((now) =>
        now.map((side, j) => (j === i ? side.with(-1, change(side.at(-1)!)) : side)),
      );
    const ask = (model: string, i: number) =>
      answer(
        model,
        asked[i] ?? [],
        (content) => last(i, (turn) => ({ ...turn, content })),
        signal,
      ).catch((error: Error) =>
        last(i, (turn) => ({ ...turn, problem: signal.aborted ? 'stopped' : error.message })),
      );
    await Promise.all(models.map(ask));
    setBusy(false);
  };
  const clear = () => {
    stop.current?.abort();
    setTurns(models.map(() => []));
  };

  return (
    <>
      <div className="sides">
        {models.map((name, i) => (
          <section key={name} className="card" aria-label={name}>
            <h2 className="break">{modelTitle(name)}</h2>
            {modelTitle(name) !== name && <p className="faint break">{name}</p>}
            {/* Read aloud when it is whole, not word by word. */}
            <div role="log" aria-label={`Answers of ${modelTitle(name)}`} aria-busy={busy}>
              <Answers turns={turns[i] ?? []} busy={busy} />
            </div>
          </section>
        ))}
      </div>
      <form className="bar" onSubmit={(e) => void send(e)}>
        <input
          className="wide"
          aria-label="Message"
          required
          autoFocus
          value={text}
          onChange={(e) => setText(e.target.value)}
          placeholder={models.length > 1 ? 'Say something: both models get it' : 'Say something'}
        />
        {busy ? (
          <button type="button" onClick={() => stop.current?.abort()}>
            Stop
          </button>
        ) : (
          <button className="main">Send</button>
        )}
        <button type="button" disabled={busy} onClick={clear}>
          Clear
        </button>
      </form>
    </>
  );
}

function Answers({ turns, busy }: { turns: readonly Turn[]; busy: boolean }) {
  if (turns.length === 0) return <p className="faint">Nothing said yet.</p>;
  return turns.map((turn, n) => {
    const waiting = busy && n === turns.length - 1 && !turn.problem;
    return (
      <p key={n} className={`turn ${turn.role}`}>
        <b>{turn.role === 'user' ? 'You' : 'Model'}</b> {turn.content}
        {waiting && '…'}
        {turn.role === 'assistant' && !turn.content && !waiting && !turn.problem && (
          <span className="faint">(an empty answer)</span>
        )}
        {turn.problem && <span className="bad"> {turn.problem}</span>}
      </p>
    );
  });
}
