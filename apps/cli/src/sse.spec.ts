import { describe, expect, it } from 'vitest';
import { parseEvents, type ServerEvent } from './sse.js';

async function parse(...chunks: (string | Uint8Array)[]): Promise<ServerEvent[]> {
  const events: ServerEvent[] = [];
  const encoder = new TextEncoder();
  async function* body(): AsyncGenerator<Uint8Array> {
    for (const chunk of chunks) yield typeof chunk === 'string' ? encoder.encode(chunk) : chunk;
  }
  for await (const event of parseEvents(body())) events.push(event);
  return events;
}

describe('parseEvents', () => {
  it('reads events cut at any byte, inside a character too', async () => {
    const bytes = new TextEncoder().encode(
      'id: 7\nevent: job\ndata: {"a":"é"}\n\n: beat\n\ndata: [DONE]\n\n',
    );
    for (let cut = 1; cut < bytes.length; cut += 1) {
      const events = await parse(bytes.subarray(0, cut), bytes.subarray(cut));
      expect(events).toEqual([
        { event: 'job', data: '{"a":"é"}', id: '7' },
        { event: 'message', data: '[DONE]', id: '7' },
      ]);
    }
  });

  it('joins data lines, knows CRLF, and drops an unfinished last event', async () => {
    expect(await parse('data: a\r\ndata:b\r\n\r\ndata: cut off')).toEqual([
      { event: 'message', data: 'a\nb', id: '' },
    ]);
  });
});
