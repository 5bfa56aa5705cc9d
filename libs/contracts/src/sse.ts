// Server-sent events as a client reads them (https://html.spec.whatwg.org/multipage/server-sent-events.html).

export interface ServerEvent {
  /** null where the event brought none: the last one holds. */
  readonly id: string | null;
  /** Its `event:`, "message" without one. */
  readonly kind: string;
  readonly data: string;
}

/** Splits a text/event-stream into events; `push` takes text as it arrives, cut anywhere. Comments give nothing. */
export class SseParser {
  #buffer = '';

  push(text: string): ServerEvent[] {
    this.#buffer += text;
    const blocks = this.#buffer.split(/\r?\n\r?\n/);
    this.#buffer = blocks.pop() ?? '';
    return blocks.map(parseBlock).filter((event) => event !== null);
  }
}

/** The events of a body; one that the body ends within is dropped. */
export async function* serverEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  const parser = new SseParser();
  for await (const chunk of body) yield* parser.push(decoder.decode(chunk, { stream: true }));
}

function parseBlock(block: string): ServerEvent | null {
  let id: string | null = null;
  let kind = 'message';
  const data: string[] = [];
  for (const line of block.split(/\r?\n/)) {
    const colon = line.indexOf(':');
    if (colon === 0) continue;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'id') id = value;
    else if (field === 'event') kind = value;
    else if (field === 'data') data.push(value);
  }
  return data.length > 0 ? { id, kind, data: data.join('\n') } : null;
}
