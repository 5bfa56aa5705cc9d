import { eventParser, type ServerEvent } from '@graft/contracts/sse';
import { ApiError, request } from './request.js';
import { onVisibility, whenVisible } from '../browser/visibility.js';

/** Reads one response to its end, event by event; `heard` is called for every piece, heartbeats too. */
export async function readEvents(
  response: Response,
  onEvent: (event: ServerEvent) => void,
  heard: () => void = () => undefined,
): Promise<void> {
  if (!response.body) return;
  const parser = eventParser(onEvent);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    parser.feed(value);
  }
}

export interface FollowOptions {
  readonly event: (event: ServerEvent) => void;
  readonly connected: (yes: boolean) => void;
  /** Number of the last event already known: the server sends what came after it. */
  readonly after?: number | undefined;
  /** Pause before coming back after a cut. */
  readonly retryMs?: number;
  /** The server says something every 5 s; silence this long means that the connection is dead. */
  readonly silenceMs?: number;
}

/**
 * Follows a stream until `signal` aborts, reconnecting with the last id so that nothing is missed.
 * Rejects with the ApiError if the server refuses for good (no such job, no right to see it).
 * A hidden tab lets its connection go and takes it up again when it is shown: over HTTP/1.1 a browser
 * keeps six for all tabs together, and a seventh tab would not even load.
 * EventSource cannot send an Authorization header, hence fetch.
 */
export async function follow(path: string, on: FollowOptions, signal: AbortSignal): Promise<void> {
  const { retryMs = 2000, silenceMs = 15_000 } = on;
  let lastId = on.after === undefined ? null : String(on.after);
  for (;;) {
    await whenVisible(signal);
    if (signal.aborted) return;
    const left = new AbortController();
    let timer = setTimeout(() => left.abort(), silenceMs);
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => left.abort(), silenceMs);
    };
    let hidden = false;
    const unwatch = onVisibility((visible) => {
      hidden ||= !visible;
      if (hidden) left.abort();
    });
    try {
      const headers: Record<string, string> = { accept: 'text/event-stream' };
      if (lastId !== null) headers['last-event-id'] = lastId;
      const response = await request(path, {
        headers,
        signal: AbortSignal.any([signal, left.signal]),
      });
      on.connected(true);
      await readEvents(
        response,
        (event) => {
          lastId = event.id ?? lastId;
          on.event(event);
        },
        heard,
      );
    } catch (error) {
      // A cut connection is the ordinary case here: say so and try again.
      if (
        !signal.aborted &&
        error instanceof ApiError &&
        error.status < 500 &&
        error.status !== 429
      )
        throw error;
    } finally {
      clearTimeout(timer);
      unwatch();
    }
    if (signal.aborted) return;
    if (hidden) continue;
    on.connected(false);
    await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
}
