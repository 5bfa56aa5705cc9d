import { createInterface } from 'node:readline/promises';
import { serverEvents } from '@graft/contracts/sse';
import type { Command } from 'commander';
import { CliError, EXIT } from '../cli-error.js';
import { findModel, MODEL_HELP } from '../find/find-model.js';
import { ApiError, type Api } from '../client/api.js';
import { callOf } from '../command-line/command-line.js';
import { decimal, positiveInteger } from '../command-line/parse-number.js';
import { printable, type Output } from '../output/terminal.js';

interface Message {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

interface Options {
  readonly system?: string;
  readonly temperature: number;
  readonly maxTokens?: number;
}

interface Chunk {
  readonly choices: readonly { readonly delta: { readonly content?: string | null } }[];
  readonly error?: { readonly message: string };
}

export function addChat(program: Command): void {
  program
    .command('chat')
    .description('Chat with a model (interactive without a message)')
    .argument('<model>', MODEL_HELP)
    .argument('[message...]')
    .option('--system <text>', 'system message')
    .option('--temperature <number>', 'sampling temperature; 0 is greedy', decimal, 0)
    .option(
      '--max-tokens <number>',
      'maximum length of a reply in tokens (default: 256)',
      positiveInteger,
    )
    .action(async (name: string, message: string[], options: Options, command: Command) => {
      const { out, api } = callOf(command);
      const model = await findModel(api(), name);
      const messages: Message[] =
        options.system === undefined ? [] : [{ role: 'system', content: options.system }];
      const answer: Answer = async (question, signal) => {
        const history: Message[] = [...messages, { role: 'user', content: question }];
        const content = await streamAnswer(
          api(),
          { model, messages: history, options, signal },
          out,
        );
        messages.push({ role: 'user', content: question }, { role: 'assistant', content });
      };
      if (message.length > 0) return answer(message.join(' '));
      await converse(model, answer, out);
    });
}

/** Answers a question and adds both to the conversation. A question without a complete answer is not added. */
type Answer = (question: string, signal?: AbortSignal) => Promise<void>;

/** Runs the interactive chat. Ctrl-C stops the current answer, or ends the chat if there is none. */
async function converse(model: string, answer: Answer, out: Output): Promise<void> {
  const input = createInterface({
    input: process.stdin,
    output: process.stderr,
    terminal: process.stdin.isTTY,
  });
  if (process.stdin.isTTY)
    out.note(`chatting with ${model}; enter an empty line or press Ctrl-D to exit`);
  let asking: AbortController | null = null;
  let isAsked = false;
  input.on('SIGINT', () => (asking ? asking.abort() : input.close()));
  input.setPrompt('> ');
  if (process.stdin.isTTY) input.prompt();
  for await (const line of input) {
    if (line.trim() === '') break;
    isAsked = true;
    asking = new AbortController();
    const { signal } = asking;
    await answer(line, signal).catch((error: unknown) => {
      if (!process.stdin.isTTY || !(signal.aborted || error instanceof ApiError)) throw error;
      out.note(
        signal.aborted ? ' [stopped]' : `graft: ${error instanceof Error ? error.message : ''}`,
      );
    });
    asking = null;
    if (process.stdin.isTTY) input.prompt();
  }
  input.close();
  if (!isAsked && !process.stdin.isTTY)
    throw new CliError('no message: specify one, or write it to stdin', EXIT.usage);
}

interface Question {
  readonly model: string;
  readonly messages: readonly Message[];
  readonly options: Options;
  readonly signal?: AbortSignal | undefined;
}

async function streamAnswer(
  api: Api,
  { model, messages, options, signal }: Question,
  out: Output,
): Promise<string> {
  const body = {
    model,
    messages,
    temperature: options.temperature,
    max_tokens: options.maxTokens,
    stream: true,
  };
  const answer = await api.raw('POST', '/chat/completions', {
    body,
    headers: { accept: 'text/event-stream' },
    ...(signal && { signal }),
  });
  let text = '';
  if (answer.body === null) return text;
  for await (const { data } of serverEvents(answer.body)) {
    if (data === '[DONE]') break;
    const chunk = JSON.parse(data) as Chunk;
    if (chunk.error !== undefined) throw new Error(chunk.error.message);
    const piece = chunk.choices[0]?.delta.content ?? '';
    text += piece;
    if (!out.json) process.stdout.write(printable(piece));
  }
  if (out.json) out.value({ role: 'assistant', content: text });
  else {
    process.stdout.write('\n');
    if (text.trim() === '') out.note('(empty reply)');
  }
  return text;
}
