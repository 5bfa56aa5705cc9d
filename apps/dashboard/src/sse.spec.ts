import { describe, expect, it } from 'vitest';
import { SseParser } from './sse.js';

describe('SseParser', () => {
  const text = ': hello\n\nid: 7\nevent: job\ndata: {"a":\ndata: 1}\n\r\nid: 8\r\ndata: x\r\n\r\n';

  it.each([1, 2, 3, 7, 1000])(
    'finds the same events when the text arrives %i characters at a time',
    (size) => {
      const parser = new SseParser();
      const seen = [];
      for (let i = 0; i < text.length; i += size)
        seen.push(...parser.push(text.slice(i, i + size)));
      expect(seen).toEqual([
        { id: '7', kind: 'job', data: '{"a":\n1}' },
        { id: '8', kind: 'message', data: 'x' },
      ]);
    },
  );

  it('keeps an unfinished event back', () => {
    const parser = new SseParser();
    expect(parser.push('data: half')).toEqual([]);
    expect(parser.push('\n\n')).toEqual([{ id: null, kind: 'message', data: 'half' }]);
  });
});
