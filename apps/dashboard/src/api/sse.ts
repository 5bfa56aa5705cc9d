import { eventParser, type ServerEvent } from '@graft/contracts/sse';
import { ApiError, request } from './request.js';
import { onVisibility, whenVisible } from '../browser/visibility.js';

/** Reads a response to its end, event by event. `onChunk` is called for every chunk, including heartbeats. */
export async function readEvents(
  response: Response,
  onEvent: (event: ServerEvent) => void,
  onChunk: () => void = () => undefined,
): Promise<void> {
  if (!response.body) return;
  const parser = eventParser(onEvent);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onChunk();
    parser.feed(value);
  }
}

export interface FollowOptions {
  readonly event: (event: ServerEvent) => void;
  readonly connected: (yes: boolean) => void;
  /** Number of the last known event. The server sends the events after it. */
  readonly after?: number | undefined;
  /** Milliseconds to wait before reconnecting. */
  readonly retryMs?: number;
  /**
   * Milliseconds of silence after which the connection counts as dead. The server sends something
   * every 5 s.
   */
  readonly silenceMs?: number;
}

/**
 * Follows a stream until `signal` aborts, and reconnects with the last event id so that no event is
 * missed. Rejects with the ApiError if the server rejects the request permanently (job not found,
 * no permission). A hidden tab closes its connection and reopens it when shown: over HTTP/1.1 a
 * browser allows six connections per host for all tabs together, so a seventh tab would not even
 * load. Uses fetch because EventSource cannot send an Authorization header.
 */
export async function follow(path: string, on: FollowOptions, signal: AbortSignal): Promise<void> {
  const { retryMs = 2000, silenceMs = 15_000 } = on;
  let lastId = on.after === undefined ? null : String(on.after);
  for (;;) {
    await whenVisible(signal);
    if (signal.aborted) return;
    const controller = new AbortController();
    let timer = setTimeout(() => controller.abort(), silenceMs);
    const onChunk = () => {
      clearTimeout(timer);
      timer = setTimeout(() => controller.abort(), silenceMs);
    };
    let hidden = false;
    const unwatch = onVisibility((visible) => {
      hidden ||= !visible;
      if (hidden) controller.abort();
    });
    try {
      const headers: Record<string, string> = { accept: 'text/event-stream' };
      if (lastId !== null) headers['last-event-id'] = lastId;
      const response = await request(path, {
        headers,
        signal: AbortSignal.any([signal, controller.signal]),
      });
      on.connected(true);
      await readEvents(
        response,
        (event) => {
          lastId = event.id ?? lastId;
          on.event(event);
        },
        onChunk,
      );
    } catch (error) {
      // Lost connections are expected here: report it and retry.
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
