// Server-sent events as a client reads them (https://html.spec.whatwg.org/multipage/server-sent-events.html).
import { createParser, type EventSourceParser } from 'eventsource-parser';

export interface ServerEvent {
  /** null where the event brought none: the last one holds. */
  readonly id: string | null;
  /** Its `event:`, "message" without one. */
  readonly kind: string;
  readonly data: string;
}

/** Calls back for each event of the text it is fed, which may be cut anywhere. Comments give nothing. */
export const eventParser = (onEvent: (event: ServerEvent) => void): EventSourceParser =>
  createParser({
    onEvent: ({ id = null, event: kind = 'message', data }) => onEvent({ id, kind, data }),
  });

/** The events of a body; one that the body ends within is dropped. */
export async function* serverEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  const events: ServerEvent[] = [];
  const parser = eventParser((event) => events.push(event));
  for await (const chunk of body) {
    parser.feed(decoder.decode(chunk, { stream: true }));
    yield* events.splice(0);
  }
}
