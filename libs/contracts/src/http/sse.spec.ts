import { describe, expect, it } from 'vitest';
import { eventParser, serverEvents, type ServerEvent } from './sse.js';

describe('eventParser', () => {
  const text = ': hello\n\nid: 7\nevent: job\ndata: {"a":\ndata: 1}\n\r\nid: 8\r\ndata: x\r\n\r\n';

  it.each([1, 2, 3, 7, 1000])('finds the same events in chunks of %i characters', (size) => {
    const seen: ServerEvent[] = [];
    const parser = eventParser((event) => seen.push(event));
    for (let i = 0; i < text.length; i += size) parser.feed(text.slice(i, i + size));
    expect(seen).toEqual([
      { id: '7', kind: 'job', data: '{"a":\n1}' },
      { id: '8', kind: 'message', data: 'x' },
    ]);
  });

  it('does not emit an incomplete event', () => {
    const seen: ServerEvent[] = [];
    const parser = eventParser((event) => seen.push(event));
    parser.feed('data: half');
    expect(seen).toEqual([]);
    parser.feed('\n\n');
    expect(seen).toEqual([{ id: null, kind: 'message', data: 'half' }]);
  });
});

describe('serverEvents', () => {
  async function read(...chunks: Uint8Array[]): Promise<ServerEvent[]> {
    const events: ServerEvent[] = [];
    async function* body(): AsyncGenerator<Uint8Array> {
      yield* chunks;
    }
    for await (const event of serverEvents(body())) events.push(event);
    return events;
  }
  const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

  it('yields the same events for a split at any byte', async () => {
    const bytes = bytesOf('id: 7\nevent: job\ndata: {"a":"é"}\n\n: beat\n\ndata: [DONE]\n\n');
    for (let cut = 1; cut < bytes.length; cut += 1) {
      expect(await read(bytes.subarray(0, cut), bytes.subarray(cut))).toEqual([
        { kind: 'job', data: '{"a":"é"}', id: '7' },
        { kind: 'message', data: '[DONE]', id: null },
      ]);
    }
  });

  it('joins data lines, accepts CRLF and drops an incomplete event at the end', async () => {
    expect(await read(bytesOf('data: a\r\ndata:b\r\n\r\ndata: cut off'))).toEqual([
      { kind: 'message', data: 'a\nb', id: null },
    ]);
  });
});
