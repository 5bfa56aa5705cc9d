// Upper bound of the tokens of a line, computed from its bytes: a line that cannot exceed the maximum length
// does not need to be tokenized. A token covers at least one byte of the normalized text. The text consists
// of the line's strings (never longer than their JSON) and the frame that the template puts around messages.
import type { Tokenizer } from '../data/text/tokenizer.js';
import type { ChatMessage, RenderOptions } from '../data/text/chat-template.js';
import type { Chat } from '../tasks/task.js';

/** Maximum number of tokens that the tokenizer and the end of text add. */
const AROUND = 16;
/** Factor by which tools can grow: templates may print them with indentation. */
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
        return 0; // The template rejects such messages.
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

  /** Returns an upper bound of the tokens in any sequence of a record whose line has this many bytes. */
  tokens(chats: readonly Chat[], bytes: number): number {
    const count = Math.max(0, ...chats.map(({ messages }) => messages.length));
    const grow = chats.some(({ tools }) => tools !== undefined) ? TOOLS_GROW : 1;
    return this.#perByte * (grow * bytes + this.#frame + this.#perMessage * count) + AROUND;
  }
}
