// Which optional fields of chat records a base's template reads: a field that makes no difference to any rendering
// looked at is not learnt from, and its owner should know.
import type { ChatMessage } from './chat-template.js';
import type { JsonObject } from './records.js';
import type { Tokenizer } from './tokenizer.js';

/** Renderings compared for a field before it counts as unused. */
const PROBES = 20;
const OF_MESSAGES = ['name', 'tool_calls', 'tool_call_id', 'refusal'];

export class FieldUse {
  readonly #records = new Map<string, number>();
  readonly #used = new Set<string>();
  readonly #probes = new Map<string, number>();

  constructor(private readonly tokenizer: Tokenizer) {}

  /** @param unread fields of it that no template gets */
  see(record: JsonObject, unread: readonly string[]): void {
    for (const name of unread) this.count(name);
    if (!Array.isArray(record['messages'])) return;
    const messages = record['messages'] as ChatMessage[];
    const { tools } = record;
    if (tools !== undefined) this.field('tools', { messages, tools }, { messages });
    for (const name of OF_MESSAGES) {
      if (!messages.some((message) => message[name] !== undefined && message[name] !== null))
        continue;
      const without = messages.map(({ [name]: _, ...rest }) => rest as ChatMessage);
      this.field(`messages[].${name}`, { messages, tools }, { messages: without, tools });
    }
  }

  /** Fields that made no difference, and how many records have them. */
  get ignored(): Record<string, number> {
    return Object.fromEntries([...this.#records].filter(([name]) => !this.#used.has(name)));
  }

  private count(name: string): void {
    this.#records.set(name, (this.#records.get(name) ?? 0) + 1);
  }

  private field(name: string, given: Rendering, without: Rendering): void {
    this.count(name);
    const probes = this.#probes.get(name) ?? 0;
    if (this.#used.has(name) || probes >= PROBES) return;
    this.#probes.set(name, probes + 1);
    if (this.rendered(given) !== this.rendered(without)) this.#used.add(name);
  }

  private rendered({ messages, tools }: Rendering): string | null {
    try {
      return this.tokenizer.render(messages, { tools });
    } catch {
      return null; // refused: that is a difference, unless both are
    }
  }
}

interface Rendering {
  readonly messages: readonly ChatMessage[];
  readonly tools?: unknown;
}
