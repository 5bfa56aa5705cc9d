import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { chatSpans } from './chat-spans.js';
import type { Renderer } from './chat-spans.js';
import { ChatTemplate } from './chat-template.js';
import type { ChatMessage } from './chat-template.js';

const GOLDEN = new URL('../../../../../test/golden/chat/', import.meta.url);
const read = (name: string): unknown => JSON.parse(readFileSync(new URL(name, GOLDEN), 'utf8'));

interface Golden {
  readonly template: string;
  readonly bos_token: string;
  readonly eos_token: string;
  readonly rendered: readonly {
    readonly error?: string;
    readonly text: string;
    readonly with_generation_prompt: string;
    readonly supervised: readonly { start: number; end: number; text: string }[];
  }[];
}

const renderer = (template: ChatTemplate): Renderer => ({
  render: (messages, options) => template.render(messages, options),
});

describe.skipIf(!existsSync(GOLDEN))('chat templates, as transformers renders them', () => {
  const conversations = existsSync(GOLDEN) ? (read('conversations.json') as ChatMessage[][]) : [];

  it.each(['smollm2', 'zephyr', 'llama3', 'mistral', 'gemma'])('%s', (name) => {
    const golden = read(`${name}.json`) as Golden;
    const template = new ChatTemplate(golden.template, {
      bos_token: golden.bos_token,
      eos_token: golden.eos_token,
    });
    expect(golden.rendered).toHaveLength(conversations.length);
    for (const [i, expected] of golden.rendered.entries()) {
      const messages = conversations[i] as ChatMessage[];
      if (expected.error !== undefined) {
        expect(() => template.render(messages, {})).toThrow(expected.error);
        continue;
      }
      expect(template.render(messages, { addGenerationPrompt: true })).toBe(
        expected.with_generation_prompt,
      );
      const { text, spans } = chatSpans(messages, renderer(template));
      expect(text).toBe(expected.text);
      expect(spans).toEqual(expected.supervised.map(({ start, end }) => [start, end]));
      expect(spans.map(([from, to]) => text.slice(from, to))).toEqual(
        expected.supervised.map((span) => span.text),
      );
    }
  });
});

const user = (content: string): ChatMessage => ({ role: 'user', content });
const assistant = (content: string): ChatMessage => ({ role: 'assistant', content });

describe('chatSpans', () => {
  it('locates turns that lose an empty thought when others follow', () => {
    const thoughtful: Renderer = {
      render: (messages, { addGenerationPrompt }) =>
        messages
          .map(({ role, content }, i) => {
            const thought =
              role === 'assistant' && i === messages.length - 1 ? '<think>\n\n</think>\n\n' : '';
            return `<${role}>\n${thought}${String(content)}<end>\n`;
          })
          .join('') + (addGenerationPrompt ? '<assistant>\n' : ''),
    };
    const { text, spans } = chatSpans(
      [user('a'), assistant('one'), user('b'), assistant('two')],
      thoughtful,
    );
    expect(spans.map(([from, to]) => text.slice(from, to))).toEqual([
      'one<end>\n',
      '<think>\n\n</think>\n\ntwo<end>\n',
    ]);
  });

  it('rejects templates that rewrite turns, naming the turn', () => {
    const forgetful: Renderer = {
      render: (messages) =>
        messages
          .map(({ content }) => String(content))
          .slice(-2)
          .join('|'),
    };
    const chat = [user('a'), assistant('one'), user('b'), assistant('two')];
    expect(() => chatSpans(chat, forgetful)).toThrow(/messages\[1\]/);
  });
});
