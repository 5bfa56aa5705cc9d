import type { ErrorBody, HubPushObject } from '@graft/contracts';
import { useEffect, useRef, useState, type FormEvent } from 'react';
import { request } from '../api/request.js';
import { bytes } from '../format.js';
import { readEvents } from '../api/sse.js';
import { Failure } from '../ui/feedback/failure.js';

interface PushBody {
  readonly repo: string;
  readonly token: string;
  readonly private: boolean;
}

/** Follows a push until it ends. Rejects with the error if it fails. */
async function push(
  model: string,
  body: PushBody,
  onProgress: (now: HubPushObject) => void,
  signal: AbortSignal,
): Promise<void> {
  const response = await request(`/models/${encodeURIComponent(model)}/push`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...body, stream: true }),
    signal,
  });
  let last: HubPushObject | null = null;
  let refused: Error | null = null;
  await readEvents(response, ({ data }) => {
    if (data === '[DONE]') return;
    const event = JSON.parse(data) as HubPushObject | ErrorBody;
    if ('error' in event) refused = new Error(event.error.message);
    else onProgress((last = event));
  });
  if (refused) throw refused as Error;
  if ((last as HubPushObject | null)?.status !== 'succeeded')
    throw new Error(
      'The connection was lost, which stopped the push. Push again: files that have arrived are kept.',
    );
}

/**
 * Form that pushes a model to the user's repository on the Hugging Face Hub. The token is requested
 * each time.
 */
export function PushToHub({ model }: { readonly model: string }) {
  const [repo, setRepo] = useState('');
  const [token, setToken] = useState('');
  const [isPrivate, setPrivate] = useState(true);
  const [now, setNow] = useState<HubPushObject | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const going = useRef<AbortController | null>(null);
  const [isGoing, setGoing] = useState(false);
  useEffect(() => () => going.current?.abort(), []);

  const submit = (event: FormEvent): void => {
    event.preventDefault();
    const controller = new AbortController();
    going.current = controller;
    setGoing(true);
    setError(null);
    setNow(null);
    push(
      model,
      { repo: repo.trim(), token: token.trim(), private: isPrivate },
      setNow,
      controller.signal,
    )
      .then(
        () => setToken(''),
        (reason: unknown) => {
          setNow(null);
          setError(controller.signal.aborted ? null : (reason as Error));
        },
      )
      .finally(() => setGoing(false));
  };
  return (
    <form className="stack" aria-label="Push to the Hugging Face Hub" onSubmit={submit}>
      <div className="bar">
        <input
          aria-label="Repository"
          placeholder="OWNER/NAME"
          required
          value={repo}
          onChange={(event) => setRepo(event.target.value)}
        />
        <input
          aria-label="Token"
          type="password"
          autoComplete="off"
          placeholder="hf_… with write access"
          required
          value={token}
          onChange={(event) => setToken(event.target.value)}
        />
        <label>
          <input
            type="checkbox"
            checked={isPrivate}
            onChange={(event) => setPrivate(event.target.checked)}
          />{' '}
          create as private
        </label>
        {isGoing ? (
          // A separate element, because a click on the other one submits the form.
          <button key="stop" type="button" onClick={() => going.current?.abort()}>
            Stop
          </button>
        ) : (
          <button key="push">Push</button>
        )}
      </div>
      <small>
        The token is used for this push only and is not stored. Leaving the page stops the push.
      </small>
      <Failure error={error} />
      {now && <Pushed {...now} />}
    </form>
  );
}

function Pushed({ status, bytes_sent: sent, total_bytes: total, url }: HubPushObject) {
  if (status === 'succeeded' && url !== null)
    return (
      <p role="status">
        Pushed to{' '}
        <a href={url} rel="noreferrer">
          {url}
        </a>
      </p>
    );
  return (
    <p role="status" className="progress">
      <progress value={sent} max={total || 1} aria-label="pushed" /> {bytes(sent)} of {bytes(total)}
    </p>
  );
}
