// Finds the optional fields of chat records that a base model's template ignores. A field that changes no compared
// rendering has no effect on training, and the file's owner should know.
import type { Chat, RecordFacts } from '../tasks/task.js';
import type { ChatMessage } from '../data/text/chat-template.js';
import type { Tokenizer } from '../data/text/tokenizer.js';

/** Renderings compared for a field before it counts as unused. */
const PROBES = 20;
const OF_MESSAGES = ['name', 'tool_calls', 'tool_call_id', 'refusal'];

export class FieldUse {
  readonly #records = new Map<string, number>();
  readonly #used = new Set<string>();
  readonly #probes = new Map<string, number>();

  /** @param tokenizer null if no chat is rendered */
  constructor(private readonly tokenizer: Tokenizer | null) {}

  /** Counts a record's unused fields. Fields that no template receives count as unused. */
  see({ ignored, chats }: Pick<RecordFacts, 'ignored' | 'chats'>): void {
    for (const name of ignored) this.count(name);
    const named = new Set(chats.flatMap((chat) => this.chat(chat)));
    for (const name of named) this.count(name);
  }

  /** Returns the optional fields of a chat, and renders a few chats without each of them. */
  private chat({ messages, tools }: Chat): string[] {
    const found: string[] = [];
    if (tools !== undefined) {
      found.push('tools');
      this.probe('tools', { messages, tools }, { messages });
    }
    for (const name of OF_MESSAGES) {
      if (!messages.some((message) => message[name] !== undefined && message[name] !== null))
        continue;
      const without = messages.map(({ [name]: _, ...rest }) => rest as ChatMessage);
      found.push(`messages[].${name}`);
      this.probe(`messages[].${name}`, { messages, tools }, { messages: without, tools });
    }
    return found;
  }

  /** Number of records per field that made no difference. */
  get ignored(): Record<string, number> {
    return Object.fromEntries([...this.#records].filter(([name]) => !this.#used.has(name)));
  }

  private count(name: string): void {
    this.#records.set(name, (this.#records.get(name) ?? 0) + 1);
  }

  private probe(name: string, given: Chat, without: Chat): void {
    const probes = this.#probes.get(name) ?? 0;
    if (this.#used.has(name) || probes >= PROBES) return;
    this.#probes.set(name, probes + 1);
    if (this.rendered(given) !== this.rendered(without)) this.#used.add(name);
  }

  private rendered({ messages, tools }: Chat): string | null {
    try {
      return this.tokenizer?.render(messages, { tools }) ?? null;
    } catch {
      return null; // A rejected chat counts as a difference, unless both are rejected.
    }
  }
}
