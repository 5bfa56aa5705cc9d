import { describe, expect, it } from 'vitest';
import { causalLm } from '../tasks/causal-lm.js';
import { taskFor } from '../tasks/registry.js';
import { MAX_LINE_BYTES, MAX_MEDIA_LINE_BYTES } from '@graft/contracts';
import { checkedRecord, parseRecord } from './records.js';
import { readLine } from '../data/json-line.js';

const check = (line: string, number = 2): string | null => {
  const checked = checkedRecord(line, number, causalLm);
  return typeof checked === 'string' ? checked : null;
};
const json = (value: unknown): string => JSON.stringify(value);
const user = { role: 'user', content: 'Hi' };
const reply = { role: 'assistant', content: 'Hello' };
const chat = (...messages: unknown[]): string => json({ messages });
const nested = (depth: number): string => `{"text":${'['.repeat(depth)}1${']'.repeat(depth)}}`;
const call = { id: 'c1', type: 'function', function: { name: 'now', arguments: '{}' } };

const GOOD: readonly (readonly [string, string])[] = [
  ['a chat', chat(user, reply)],
  ['a system prompt', chat({ role: 'system', content: 'Be brief.' }, user, reply)],
  ['a developer prompt', chat({ role: 'developer', content: 'Be brief.' }, user, reply)],
  ['weights', chat(user, { ...reply, weight: 0 }, user, { ...reply, weight: 1 })],
  ['null weight', chat(user, { ...reply, weight: null })],
  ['a task', json({ messages: [user, reply], task_ids: 3 })],
  ['a task of a text', json({ text: 'a', task_ids: 0 })],
  ['a task of a completion', json({ prompt: 'a', completion: 'b', task_ids: 1 })],
  ['a user at the end', chat(user, reply, user)],
  ['names', chat({ ...user, name: 'ann' }, reply)],
  ['content parts', chat({ role: 'user', content: [{ type: 'text', text: 'Hi' }] }, reply)],
  ['tool calls', chat(user, { role: 'assistant', content: null, tool_calls: [call] })],
  [
    'tool answers',
    chat(
      user,
      { role: 'assistant', tool_calls: [call] },
      { role: 'tool', content: '12:00', tool_call_id: 'c1' },
      reply,
    ),
  ],
  [
    'tools',
    json({ messages: [user, reply], tools: [{ type: 'function' }], parallel_tool_calls: true }),
  ],
  ['an empty user message', chat({ role: 'user', content: '' }, reply)],
  ['prompt and completion', json({ prompt: 'a', completion: 'b' })],
  ['an empty prompt', json({ prompt: '', completion: 'b' })],
  ['text', json({ text: 'Once upon a time' })],
  ['a carriage return at the end', `${json({ text: 'x' })}\r`],
  ['spaces around', `  ${json({ text: 'x' })}\t`],
  ['emoji and combining marks', json({ text: '👩‍🚀 e\u0301 \u202eRTL \u0000' })],
  ['a replacement character', json({ text: 'a\ufffdb' })],
  ['escaped surrogate pairs', '{"text":"\\ud83d\\ude00"}'],
  ['brackets and quotes inside strings', json({ text: '[[[[[[[[[[[[[[[[[[[[{"a":{"a":1}}' })],
  [
    'equal keys in different objects',
    json({ messages: [user, reply], tools: [{ a: { a: 1 } }, { a: 2 }] }),
  ],
  ['exactly the longest line', json({ text: 'x'.repeat(MAX_LINE_BYTES - 11) })],
  ['an escaped backslash before a quote', '{"text":"\\\\"}'],
];

const BAD: readonly (readonly [string, string, RegExp])[] = [
  ['nothing', '', /empty/],
  ['spaces', '  \t', /empty/],
  ['a lone carriage return', '\r', /empty/],
  ['a number', '1', /expected a JSON object, got 1/],
  ['null', 'null', /expected a JSON object, got null/],
  ['a string', '"x"', /expected a JSON object, got "x"/],
  ['a string that is cut within a character', json('😀'.repeat(30)), /got "(😀){19}…$/],
  ['a character of two halves that is no token', '{"text": 😀}', /not valid JSON: [^\ud83d]*$/],
  ['a list', '[1]', /expected a JSON object, got an array/],
  ['a word', 'hello', /not valid JSON/],
  ['a trailing comma', '{"text":"x",}', /not valid JSON/],
  ['two objects', '{"text":"x"}{"text":"y"}', /not valid JSON/],
  ['single quotes', "{'text':'x'}", /not valid JSON/],
  ['an open string', '{"text":"x', /not valid JSON/],
  ['an open object', '{"text":"x"', /not valid JSON/],
  ['a raw control character', '{"text":"a\u0001b"}', /not valid JSON/],
  ['a comment', '{"text":"x"} // y', /not valid JSON/],
  ['NaN', '{"text":NaN}', /not valid JSON/],
  ['a bad escape', '{"text":"\\x"}', /not valid JSON/],
  ['a bad escape in a key', '{"\\x":1}', /not valid JSON/],
  ['a byte order mark after line 1', '\ufeff{"text":"x"}', /not valid JSON/],
  ['only closing brackets', ']]]]', /not valid JSON/],
  ['half a surrogate pair', '{"text":"\\ud83d"}', /surrogate/],
  ['half a surrogate pair in a key', '{"messages":[],"\\udc00":1}', /surrogate/],
  ['the wrong half first', '{"text":"\\ude00\\ud83d"}', /surrogate/],
  ['equal keys', '{"text":"x","text":"y"}', /duplicate key "text"/],
  ['equal keys, one escaped', '{"text":"x","te\\u0078t":"y"}', /duplicate key "text"/],
  ['__proto__', '{"text":"x","__proto__":{"a":1}}', /"__proto__" is not allowed/],
  ['__proto__ escaped', '{"\\u005f_proto__":1}', /"__proto__" is not allowed/],
  ['constructor deep down', '{"messages":[{"constructor":{}}]}', /"constructor" is not allowed/],
  ['prototype', '{"prototype":1}', /"prototype" is not allowed/],
  ['17 levels', nested(16), /nested more than 16/],
  ['100,000 levels', nested(100_000), /nested more than 16/],
  ['400,000 opened and not closed', '['.repeat(400_000), /nested more than 16/],
  [
    '65 keys',
    json(Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, i]))),
    /more than 64 keys/,
  ],
  [
    '100,000 items',
    json({ text: Array.from({ length: 100_000 }, () => 1) }),
    /more than 65536 items/,
  ],
  ['a long line', json({ text: 'x'.repeat(MAX_LINE_BYTES - 10) }), /longer than 1048576 bytes/],
  ['a line long only in bytes', json({ text: '日'.repeat(360_000) }), /longer than 1048576 bytes/],
  ['no keys', '{}', /this one has no keys/],
  ['other keys', '{"question":"x","answer":"y"}', /this one has the keys "question", "answer"/],
  ['a mixture', json({ messages: [user, reply], text: 'x' }), /not a mix of them/],
  ['another mixture', json({ prompt: 'a', completion: 'b', text: 'x' }), /not a mix of them/],
  [
    'a preference pair',
    json({ input: { messages: [user] }, preferred_output: [reply], non_preferred_output: [reply] }),
    /a record must be one of .*"preferred_output"/,
  ],
  ['a key too many in text', json({ text: 'x', label: 1 }), /unknown key "label"/],
  [
    'a key too many in a pair',
    json({ prompt: 'a', completion: 'b', weight: 1 }),
    /unknown key "weight"/,
  ],
  ['a key too many in a chat', json({ messages: [user, reply], id: 1 }), /unknown key "id"/],
  ['tools that are no list', json({ messages: [user, reply], tools: {} }), /"tools"/],
  ['tools of strings', json({ messages: [user, reply], tools: ['now'] }), /"tools"/],
  [
    'parallel_tool_calls 1',
    json({ messages: [user, reply], parallel_tool_calls: 1 }),
    /"parallel_tool_calls"/,
  ],
  ['text 5', '{"text":5}', /"text" must be a string/],
  ['text null', '{"text":null}', /"text" must be a string/],
  ['empty text', '{"text":""}', /"text" is empty/],
  ['a prompt alone', '{"prompt":"a"}', /"completion" is missing/],
  ['a completion alone', '{"completion":"a"}', /"prompt" is missing/],
  ['an empty completion', json({ prompt: 'a', completion: '' }), /"completion" is empty/],
  [
    'a prompt of messages',
    json({ prompt: [user], completion: [reply] }),
    /"prompt" must be a string/,
  ],
  ['messages that are an object', '{"messages":{}}', /"messages" must be an array/],
  ['messages that are text', '{"messages":"hi"}', /"messages" must be an array/],
  ['no messages', '{"messages":[]}', /"messages" is empty/],
  [
    '10,000 turns',
    chat(...Array.from({ length: 10_000 }, (_, i) => (i % 2 ? reply : user))),
    /10000 entries|items/,
  ],
  ['2,049 turns', chat(...Array.from({ length: 2_049 }, () => reply)), /2049 entries/],
  ['a null message', chat(null, reply), /messages\[0\]: expected an object, got null/],
  ['a message that is a list', chat(user, ['assistant', 'x']), /messages\[1\]: expected an object/],
  ['a message that is text', chat('hi'), /messages\[0\]/],
  ['no role', chat({ content: 'x' }, reply), /messages\[0\]: "role" is missing/],
  [
    'role bot',
    chat(user, { role: 'bot', content: 'x' }),
    /messages\[1\]: unknown role "bot"; supported:/,
  ],
  ['role Assistant', chat(user, { role: 'Assistant', content: 'x' }), /role "Assistant"/],
  ['role function', chat(user, { role: 'function', content: 'x' }, reply), /role "function"/],
  ['role 1', chat({ role: 1, content: 'x' }), /unknown role 1; supported:/],
  ['no content', chat({ role: 'user' }, reply), /"content" is missing/],
  ['null content', chat(user, { role: 'assistant', content: null }), /"content" is null/],
  ['content 5', chat({ role: 'user', content: 5 }, reply), /"content" must be/],
  ['content object', chat({ role: 'user', content: { text: 'x' } }, reply), /"content" must be/],
  [
    'an image',
    chat({ role: 'user', content: [{ type: 'image_url', image_url: {} }] }, reply),
    /"content" must be/,
  ],
  ['a null part', chat({ role: 'user', content: [null] }, reply), /"content" must be/],
  [
    'a part without text',
    chat({ role: 'user', content: [{ type: 'text' }] }, reply),
    /"content" must be/,
  ],
  [
    'an empty assistant message',
    chat(user, { role: 'assistant', content: '' }),
    /assistant message is empty/,
  ],
  ['empty parts', chat(user, { role: 'assistant', content: [] }), /assistant message is empty/],
  ['user only', chat(user), /no message with role "assistant"/],
  ['system only', chat({ role: 'system', content: 'x' }), /no message with role "assistant"/],
  ['all weights 0', chat(user, { ...reply, weight: 0 }), /every assistant message has weight 0/],
  ['weight 2', chat(user, { ...reply, weight: 2 }), /"weight" must be 0 or 1, got 2/],
  ['weight 0.5', chat(user, { ...reply, weight: 0.5 }), /"weight" must be 0 or 1, got 0.5/],
  ['weight -1', chat(user, { ...reply, weight: -1 }), /"weight" must be 0 or 1, got -1/],
  ['weight true', chat(user, { ...reply, weight: true }), /"weight" must be 0 or 1, got true/],
  ['weight "1"', chat(user, { ...reply, weight: '1' }), /"weight" must be 0 or 1, got "1"/],
  [
    'weight 1e999',
    '{"messages":[{"role":"assistant","content":"x","weight":1e999}]}',
    /"weight" must be/,
  ],
  ['weight on a user message', chat({ ...user, weight: 1 }, reply), /only in assistant messages/],
  ['a key misspelt', chat(user, { ...reply, weigth: 0 }), /unknown key "weigth"/],
  ['name 5', chat({ ...user, name: 5 }, reply), /"name" must be a string/],
  [
    'tool calls of a user',
    chat({ ...user, tool_calls: [call] }, reply),
    /"tool_calls" is allowed only in assistant/,
  ],
  [
    'tool calls that are no list',
    chat(user, { ...reply, tool_calls: {} }),
    /"tool_calls" must be an array/,
  ],
  [
    'no tool calls',
    chat(user, { ...reply, tool_calls: [] }),
    /"tool_calls" must be an array with at least one entry/,
  ],
  [
    'a tool call without function',
    chat(user, { ...reply, tool_calls: [{ id: 'x' }] }),
    /tool_calls\[0\] must have a function/,
  ],
  [
    'a null tool call',
    chat(user, { ...reply, tool_calls: [null] }),
    /tool_calls\[0\] must have a function/,
  ],
  [
    'a tool call without arguments',
    chat(user, { ...reply, tool_calls: [{ function: { name: 'f' } }] }),
    /arguments/,
  ],
];

describe('checkedRecord', () => {
  it.each(GOOD)('accepts %s', (_, line) => {
    expect(check(line)).toBeNull();
  });

  it.each(BAD)('rejects %s', (_, line, reason) => {
    expect(check(line)).toMatch(reason);
  });

  it('allows a byte order mark on line 1 only', () => {
    expect(check(`\ufeff${json({ text: 'x' })}`, 1)).toBeNull();
  });

  it('returns reasons of bounded length without the text that V8 quotes', () => {
    for (const [, line] of BAD) expect(check(line)?.length).toBeLessThan(260);
    expect(check('{"text": secret-value}')).not.toMatch(/secret/);
  });

  it('checks 5,000 damaged lines, and accepts only those that JSON.parse reads the same', () => {
    let seed = 1;
    const random = (n: number): number => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) % n;
    const lines = GOOD.filter(([, line]) => line.length < 1000).map(([, line]) => line);
    for (let i = 0; i < 5_000; i++) {
      const units = [...(lines[random(lines.length)] as string)];
      for (let j = random(4); j >= 0; j--) {
        units.splice(random(units.length), random(2), String.fromCharCode(random(128)));
      }
      const line = units.join('');
      if (check(line) === null) expect(typeof JSON.parse(line)).toBe('object');
    }
  });

  it('does not change prototypes', () => {
    check('{"text":"x","__proto__":{"x":1}}');
    expect(({} as { x?: unknown }).x).toBeUndefined();
  });

  it('reads a megabyte of any text in linear time', () => {
    for (const text of [
      '{"a":'.repeat(200_000),
      '"\\'.repeat(500_000),
      '{"text":"' + '\\"'.repeat(500_000) + '"}',
    ]) {
      const before = process.cpuUsage();
      check(text);
      expect(process.cpuUsage(before).user / 1e6).toBeLessThan(2);
    }
  });

  it('rejects an unknown task', () => {
    expect(() => taskFor('sing')).toThrow(/unknown task "sing"; supported: causal_lm/);
  });
});

describe('parseRecord', () => {
  it('returns the record, or throws with line and reason', () => {
    expect(parseRecord('{"text":"x"}', 7, causalLm)).toEqual({ text: 'x' });
    expect(() => parseRecord('{"text":5}', 7, causalLm)).toThrow('line 7: "text" must be a string');
  });
});

it('does not count images and audio toward the line limit, up to 16 MiB', () => {
  const line = (text: number, media: number): string =>
    json({ text: 'x'.repeat(text), image: `data:image/png;base64,${'A'.repeat(media)}` });
  expect(readLine(line(100, 3 << 20), 1)).toHaveProperty('image');
  expect(readLine(line(MAX_LINE_BYTES, 3 << 20), 1)).toMatch(/longer than 1048576 bytes/);
  expect(readLine(line(100, MAX_MEDIA_LINE_BYTES), 1)).toMatch(/longer than 16777216 bytes/);
  const text = json({ text: `data:image/png;base64,${'A'.repeat(MAX_LINE_BYTES)}`.slice(1) });
  expect(readLine(text, 1)).toMatch(/longer than 1048576 bytes/);
});

it('counts text that only looks like an image', () => {
  const url = `data:image/png;base64,${'AAAA'.repeat(MAX_LINE_BYTES / 4)}`;
  expect(check(json({ text: url }))).toBe('the line is longer than 1048576 bytes');
  const picture = json({ image: url, label: 'cat' });
  expect(checkedRecord(picture, 2, taskFor('image_cls'))).toHaveProperty('image');
});
