import type { ModelObject } from '@graft/contracts';
import { useEffect, useRef, useState, type FormEvent } from 'react';
import { api, request } from '../api.js';
import { useLoaded } from '../loading.js';
import { Failure } from '../parts/failure.js';
import { readEvents } from '../sse.js';

interface Turn {
  readonly role: 'user' | 'assistant';
  readonly content: string;
}

interface Chunk {
  readonly choices?: readonly { readonly delta?: { readonly content?: string } }[];
  readonly error?: { readonly message: string };
}

/** Streams one answer of a model; `onText` gets the text so far. */
async function answer(model: string, turns: readonly Turn[], onText: (text: string) => void, signal: AbortSignal): Promise<void> {
  const body = JSON.stringify({ model, messages: turns, stream: true, temperature: 0, max_tokens: 256 });
  const response = await request('/chat/completions', { method: 'POST', body, signal, headers: { 'content-type': 'application/json' } });
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
  const models = useLoaded(async () => (await api.models()).data.filter((m) => (m.graft?.status ?? 'ready') === 'ready'));
  const [chosen, setChosen] = useState(model ?? '');
  const [beside, setBeside] = useState(true);
  const list: readonly ModelObject[] = models.value ?? [];
  const current = list.find((m) => m.id === chosen) ?? list[0];
  const base = current?.graft?.base ?? null;
  const sides = current ? [current.id, ...(beside && base ? [base] : [])] : [];
  return (
    <main>
      <h1>Chat</h1>
      <Failure error={models.error} />
      <p className="bar">
        <label htmlFor="model">Model</label>
        <select id="model" value={current?.id ?? ''} onChange={(e) => setChosen(e.target.value)}>
          {list.map((m) => (
            <option key={m.id}>{m.id}</option>
          ))}
        </select>
        {base && (
          <label>
            <input type="checkbox" checked={beside} onChange={(e) => setBeside(e.target.checked)} /> beside its base
          </label>
        )}
      </p>
      {sides.length > 0 ? <Conversation key={sides.join()} models={sides} /> : <p className="faint">No model is ready yet.</p>}
    </main>
  );
}

function Conversation({ models }: { models: readonly string[] }) {
  const [turns, setTurns] = useState<readonly Turn[][]>(models.map(() => []));
  const [text, setText] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error | null>(null);
  const stop = useRef<AbortController | null>(null);
  useEffect(() => () => stop.current?.abort(), []);

  const send = async (event: FormEvent) => {
    event.preventDefault();
    const asked = turns.map((side): Turn[] => [...side, { role: 'user', content: text }]);
    setTurns(asked.map((side) => [...side, { role: 'assistant', content: '' }]));
    setText('');
    setBusy(true);
    setError(null);
    stop.current = new AbortController();
    const { signal } = stop.current;
    const side = (i: number) => (content: string) => setTurns((now) => now.map((t, j) => (j === i ? [...t.slice(0, -1), { role: 'assistant', content }] : t)));
    const outcomes = await Promise.allSettled(models.map((m, i) => answer(m, asked[i] ?? [], side(i), signal)));
    const failed = outcomes.find((o) => o.status === 'rejected');
    if (failed && !signal.aborted) setError(failed.reason as Error);
    setBusy(false);
  };

  return (
    <>
      <div className="sides">
        {models.map((name, i) => (
          <section key={name} className="card" aria-label={name}>
            <h2 className="one-line">{name}</h2>
            {(turns[i] ?? []).map((turn, n) => (
              <p key={n} className={`turn ${turn.role}`}>
                <b>{turn.role === 'user' ? 'You' : 'Model'}</b> {turn.content || '…'}
              </p>
            ))}
          </section>
        ))}
      </div>
      <Failure error={error} />
      <form className="bar" onSubmit={(e) => void send(e)}>
        <input className="wide" aria-label="Message" required value={text} onChange={(e) => setText(e.target.value)} placeholder="Say something" />
        {busy ? (
          <button type="button" onClick={() => stop.current?.abort()}>
            Stop
          </button>
        ) : (
          <button className="main">Send</button>
        )}
        <button type="button" onClick={() => setTurns(models.map(() => []))}>
          Clear
        </button>
      </form>
    </>
  );
}
