// Client-side parser of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
import { createParser, type EventSourceParser } from 'eventsource-parser';

export interface ServerEvent {
  /** Null if the event has no `id:`; the previous ID stays valid. */
  readonly id: string | null;
  /** Value of `event:`; "message" by default. */
  readonly kind: string;
  readonly data: string;
}

/** Returns a parser that calls `onEvent` for each event. The text may be split anywhere. Comments are ignored. */
export const eventParser = (onEvent: (event: ServerEvent) => void): EventSourceParser =>
  createParser({
    onEvent: ({ id = null, event: kind = 'message', data }) => onEvent({ id, kind, data }),
  });

/** Yields the events of a response body. An incomplete event at the end is dropped. */
export async function* serverEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  const events: ServerEvent[] = [];
  const parser = eventParser((event) => events.push(event));
  for await (const chunk of body) {
    parser.feed(decoder.decode(chunk, { stream: true }));
    yield* events.splice(0);
  }
}
