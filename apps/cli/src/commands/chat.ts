import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import type { Api } from '../api.js';
import { callOf } from '../command-line.js';
import { parseEvents } from '../sse.js';
import { printable, type Output } from '../terminal.js';

interface Message {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

interface Options {
  readonly system?: string;
  readonly temperature: string;
  readonly maxTokens: string;
}

interface Chunk {
  readonly choices: readonly { readonly delta: { readonly content?: string | null } }[];
  readonly error?: { readonly message: string };
}

export function addChat(program: Command): void {
  program
    .command('chat')
    .description('talk to a base or a fine-tuned model; without a message, line after line')
    .argument('<model>')
    .argument('[message...]')
    .option('--system <text>', 'system message')
    .option('--temperature <number>', '0 is greedy', '0')
    .option('--max-tokens <number>', 'longest answer', '256')
    .action(async (model: string, words: string[], options: Options, command: Command) => {
      const { out, api } = callOf(command);
      const messages: Message[] =
        options.system === undefined ? [] : [{ role: 'system', content: options.system }];
      const answer = async (question: string): Promise<void> => {
        messages.push({ role: 'user', content: question });
        messages.push({
          role: 'assistant',
          content: await streamAnswer(api(), model, messages, options, out),
        });
      };
      if (words.length > 0) return answer(words.join(' '));
      await converse(model, answer, out);
    });
}

async function converse(
  model: string,
  answer: (question: string) => Promise<void>,
  out: Output,
): Promise<void> {
  const input = createInterface({
    input: process.stdin,
    output: process.stderr,
    terminal: process.stdin.isTTY,
  });
  if (process.stdin.isTTY) out.note(`talking to ${model}; an empty line or Ctrl-D ends it`);
  input.setPrompt('> ');
  if (process.stdin.isTTY) input.prompt();
  for await (const line of input) {
    if (line.trim() === '') break;
    await answer(line);
    if (process.stdin.isTTY) input.prompt();
  }
  input.close();
}

async function streamAnswer(
  api: Api,
  model: string,
  messages: readonly Message[],
  options: Options,
  out: Output,
): Promise<string> {
  const body = {
    model,
    messages,
    temperature: Number(options.temperature),
    max_tokens: Number(options.maxTokens),
    stream: true,
  };
  const answer = await api.raw('POST', '/chat/completions', {
    body,
    headers: { accept: 'text/event-stream' },
  });
  let text = '';
  if (answer.body === null) return text;
  for await (const { data } of parseEvents(answer.body)) {
    if (data === '[DONE]') break;
    const chunk = JSON.parse(data) as Chunk;
    if (chunk.error !== undefined) throw new Error(chunk.error.message);
    const piece = chunk.choices[0]?.delta.content ?? '';
    text += piece;
    if (!out.json) process.stdout.write(printable(piece));
  }
  if (out.json) out.value({ role: 'assistant', content: text });
  else process.stdout.write('\n');
  return text;
}
