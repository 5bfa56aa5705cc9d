// How many tokens a line of a file can have at most, told from its bytes: what cannot reach the cut need not be
// tokenised. A token covers at least one byte of the text it stands for, normalised, and the text is the line's strings
// (never longer than their JSON) in the frame that the template puts around messages.
import type { Tokenizer } from '../data/text/tokenizer.js';
import type { ChatMessage, RenderOptions } from '../data/text/chat-template.js';
import type { Chat } from '../tasks/task.js';

/** Tokens that the tokenizer and the end of text add. */
const AROUND = 16;
/** Templates may print tools with indentation. */
const TOOLS_GROW = 3;

const USER = { role: 'user', content: 'x' };
const ASSISTANT = { role: 'assistant', content: 'x' };
const SYSTEM = { role: 'system', content: 'x' };
const TOOL = {
  type: 'function',
  function: { name: 'x', description: 'x', parameters: { type: 'object', properties: {} } },
};

export class LengthBound {
  readonly #perByte: number;
  readonly #frame: number;
  readonly #perMessage: number;

  constructor(tokenizer: Pick<Tokenizer, 'render' | 'tokensPerByte'>) {
    const rendered = (messages: readonly ChatMessage[], options?: RenderOptions): number => {
      try {
        return Buffer.byteLength(tokenizer.render(messages, options));
      } catch {
        return 0; // the template takes no such messages
      }
    };
    const pair = rendered([USER, ASSISTANT]);
    this.#perByte = tokenizer.tokensPerByte;
    this.#perMessage = Math.max(0, rendered([USER, ASSISTANT, USER, ASSISTANT]) - pair);
    this.#frame = Math.max(
      pair,
      rendered([SYSTEM, USER, ASSISTANT]),
      rendered([USER, ASSISTANT], { tools: [TOOL] }),
    );
  }

  /** At least as many as any sequence of a record on a line of so many bytes has. */
  tokens(chats: readonly Chat[], bytes: number): number {
    const count = Math.max(0, ...chats.map(({ messages }) => messages.length));
    const grow = chats.some(({ tools }) => tools !== undefined) ? TOOLS_GROW : 1;
    return this.#perByte * (grow * bytes + this.#frame + this.#perMessage * count) + AROUND;
  }
}
