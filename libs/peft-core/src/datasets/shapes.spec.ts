import { describe, expect, it } from 'vitest';
import { shapeOf } from '../catalog.js';
import type { Columns } from './shapes.js';

const convert = (row: Record<string, unknown>, columns?: Columns): unknown =>
  shapeOf(Object.keys(row), columns)?.convert(row);
const messages = (...turns: [role: string, content: string][]) =>
  turns.map(([role, content]) => ({ role, content }));

describe('shapeOf', () => {
  it('reads ShareGPT, with its system prompt, tools and weights', () => {
    expect(
      convert({
        id: 'x1',
        system: 'Be brief.',
        tools: '[{"type":"function","function":{"name":"now"}}]',
        conversations: [
          { from: 'human', value: 'Hi' },
          { from: 'gpt', value: 'Hello', weight: 0, source: 'web' },
          { role: 'user', content: 'Bye' },
          { from: 'assistant', value: 'See you' },
        ],
      }),
    ).toEqual({
      record: {
        messages: [
          { role: 'system', content: 'Be brief.' },
          { role: 'user', content: 'Hi' },
          { role: 'assistant', content: 'Hello', weight: 0 },
          { role: 'user', content: 'Bye' },
          { role: 'assistant', content: 'See you' },
        ],
        tools: [{ type: 'function', function: { name: 'now' } }],
      },
      ignored: ['id', 'conversations[].source'],
    });
    expect(convert({ conversations: [{ from: 'narrator', value: 'Once' }] })).toMatch(
      /^conversations\[0\]: "from" must be one of human, user, gpt/,
    );
    expect(convert({ conversations: 'Hi' })).toBe('"conversations" must be an array');
  });

  it('reads Alpaca, with and without an input, with a system prompt and a history', () => {
    expect(convert({ instruction: 'Add', input: '2 + 2', output: '4', text: 'all of it' })).toEqual(
      {
        record: { messages: messages(['user', 'Add\n\n2 + 2'], ['assistant', '4']) },
        ignored: ['text'],
      },
    );
    const row = {
      instruction: 'And 3?',
      input: '',
      output: '6',
      system: 'Count.',
      history: [['2?', '4']],
    };
    const turns = messages(
      ['system', 'Count.'],
      ['user', '2?'],
      ['assistant', '4'],
      ['user', 'And 3?'],
      ['assistant', '6'],
    );
    expect(convert(row)).toEqual({ record: { messages: turns }, ignored: [] });
    const dolly = { instruction: 'Who?', context: 'Ann came.', response: 'Ann', category: 'qa' };
    expect(convert(dolly)).toEqual({
      record: { messages: messages(['user', 'Who?\n\nAnn came.'], ['assistant', 'Ann']) },
      ignored: ['category'],
    });
    expect(convert({ instruction: 'a', output: ['b'] })).toBe('"output" must be text');
  });

  it('reads tables by their column names, and reports what it guessed', () => {
    expect(convert({ prompt: 'a', completion: 'b', id: 7, empty: '' })).toEqual({
      record: { prompt: 'a', completion: 'b' },
      ignored: ['id'],
    });
    expect(shapeOf(['prompt', 'completion'])?.note).toBeNull();
    expect(convert({ Question: 'a', 'Answer ': 5 })).toEqual({
      record: { prompt: 'a', completion: '5' },
      ignored: [],
    });
    expect(shapeOf(['Question', 'Answer'])?.note).toBe(
      'Column "Question" was read as the prompt, "Answer" as the completion.',
    );
    expect(convert({ text: 'a', source: 1 })).toEqual({
      record: { text: 'a' },
      ignored: ['source'],
    });
    expect(convert({ text: 'a', label: 1, id: 7 })).toEqual({
      record: { text: 'a', label: 1 },
      ignored: ['id'],
    });
    expect(convert({ messages: '[{"role":"user","content":"a"}]' })).toEqual({
      record: { messages: [{ role: 'user', content: 'a' }] },
      ignored: [],
    });
    expect(convert({ messages: [{ role: 'user', content: 'a', name: null }], id: 1 })).toEqual({
      record: { messages: [{ role: 'user', content: 'a' }] },
      ignored: ['id'],
    });
    expect(shapeOf(['frage', 'antwort'])).toBeNull();
  });

  it('uses only the mapped columns', () => {
    const columns = { prompt: 'frage', completion: 'antwort' };
    expect(convert({ frage: 'a', antwort: 'b', text: 'c' }, columns)).toEqual({
      record: { prompt: 'a', completion: 'b' },
      ignored: ['text'],
    });
    expect(() => shapeOf(['frage'], columns)).toThrow('no column "antwort"; columns: "frage"');
    expect(() => shapeOf(['frage'], { prompt: 'frage' })).toThrow(
      'no form of training data has the fields "prompt"; name the columns of one form: messages;',
    );
    const labelled = { text: 'frage', label: 'antwort' };
    expect(convert({ frage: 'a', antwort: 3, text: 'c' }, labelled)).toEqual({
      record: { text: 'a', label: 3 },
      ignored: ['text'],
    });
    const judged = { prompt: 'frage', completion: 'antwort', label: 'gut' };
    expect(convert({ frage: 'a', antwort: 'b', gut: true }, judged)).toEqual({
      record: { prompt: 'a', completion: 'b', label: true },
      ignored: [],
    });
  });

  it('converts each cell to the kind of its field', () => {
    expect(convert({ tokens: '["Ann","came"]', tags: '["B-PER","O"]' })).toEqual({
      record: { tokens: ['Ann', 'came'], tags: ['B-PER', 'O'] },
      ignored: [],
    });
    const tagged = { tokens: 'words', tags: 'marks' };
    expect(convert({ words: '["Ann"]', marks: '[1]' }, tagged)).toEqual({
      record: { tokens: ['Ann'], tags: [1] },
      ignored: [],
    });
    expect(convert({ words: "['Ann']", marks: '[1]' }, tagged)).toBe(
      `"words" must be a list or an object in JSON; got "['Ann']"`,
    );
    const labelled = { text: 'body', label: 'topics' };
    for (const [topics, label] of [
      ['["a","b"]', ['a', 'b']],
      ['[a]', '[a]'],
      ['3', '3'],
    ])
      expect(convert({ body: '{"a":1}', topics }, labelled)).toEqual({
        record: { text: '{"a":1}', label },
        ignored: [],
      });
    const json = '[{"a":1}]';
    expect(convert({ anchor: json, positive: '{"b":2}', negative: 5 })).toEqual({
      record: { anchor: json, positive: '{"b":2}', negative: '5' },
      ignored: [],
    });
    for (const [label, good] of [
      ['1', true],
      [0, false],
      ['True', 'True'],
      ['', ''],
    ])
      // prettier-ignore
      expect(convert({ prompt: 'a', completion: json, label })).toEqual({
        record: { prompt: 'a', completion: json, label: good },
        ignored: [],
      });
    expect(
      convert({ prompt: 1, chosen: '[{"role":"assistant","content":"b"}]', rejected: '[]' }),
    ).toEqual({
      record: { prompt: '1', chosen: messages(['assistant', 'b']), rejected: '[]' },
      ignored: [],
    });
    expect(convert({ q: 'a', n: '3' }, { text: 'q', task_ids: 'n' })).toEqual({
      record: { text: 'a', task_ids: 3 },
      ignored: [],
    });
  });

  it('rejects one column for two fields', () => {
    expect(() => shapeOf(['a'], { text: 'a', label: 'a' })).toThrow(
      'column "a" is already used for text; choose another one',
    );
  });
});
