import { request } from './api.js';

export interface ServerEvent {
  readonly id: string | null;
  readonly kind: string;
  readonly data: string;
}

/** Splits a text/event-stream into events; `push` takes text as it arrives, cut anywhere. */
export class SseParser {
  #buffer = '';

  push(text: string): ServerEvent[] {
    this.#buffer += text;
    const blocks = this.#buffer.split(/\r?\n\r?\n/);
    this.#buffer = blocks.pop() ?? '';
    return blocks.map(parseBlock).filter((event) => event !== null);
  }
}

function parseBlock(block: string): ServerEvent | null {
  let id: string | null = null;
  let kind = 'message';
  const data: string[] = [];
  for (const line of block.split(/\r?\n/)) {
    const colon = line.indexOf(':');
    if (colon <= 0) continue;
    const value = line.slice(colon + 1).replace(/^ /, '');
    const field = line.slice(0, colon);
    if (field === 'id') id = value;
    else if (field === 'event') kind = value;
    else if (field === 'data') data.push(value);
  }
  return data.length > 0 ? { id, kind, data: data.join('\n') } : null;
}

/** Reads one response to its end, event by event. */
export async function readEvents(
  response: Response,
  onEvent: (event: ServerEvent) => void,
): Promise<void> {
  if (!response.body) return;
  const parser = new SseParser();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    parser.push(value).forEach(onEvent);
  }
}

/**
 * Follows a stream until `signal` aborts, reconnecting with the last id so that nothing is missed.
 * EventSource cannot send an Authorization header, hence fetch.
 */
export async function follow(
  path: string,
  on: { event: (event: ServerEvent) => void; connected: (yes: boolean) => void },
  signal: AbortSignal,
): Promise<void> {
  let lastId: string | null = null;
  while (!signal.aborted) {
    try {
      const headers: Record<string, string> = { accept: 'text/event-stream' };
      if (lastId !== null) headers['last-event-id'] = lastId;
      const response = await request(path, { headers, signal });
      on.connected(true);
      await readEvents(response, (event) => {
        lastId = event.id ?? lastId;
        on.event(event);
      });
    } catch {
      // A cut connection is the ordinary case here: say so and try again.
    }
    if (signal.aborted) return;
    on.connected(false);
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}
