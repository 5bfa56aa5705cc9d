// Parses the tool calls that a model writes in the format of its chat template.
import type { ToolCall } from '@graft/contracts';
import { shared, type ToolFormat } from '../data/text/tool-format.js';

export interface ReadText {
  readonly text: string;
  readonly calls: readonly ToolCall[];
}

const NOTHING: ReadText = { text: '', calls: [] };

/** Separates tool calls from text while an answer is generated. Malformed calls stay text. */
export class ToolCallReader {
  private held = '';
  /** Whether the answer contains a call. Whitespace around calls is not text. */
  private called = false;

  /** @param names names of the available tools */
  constructor(
    private readonly format: ToolFormat,
    private readonly names: readonly string[],
  ) {}

  /** Adds a part of the answer and returns the text and calls that are certain so far. */
  push(text: string): ReadText {
    this.held += text;
    return this.format.end === '' ? this.whole() : this.tagged();
  }

  /** Returns the remaining text and calls at the end of the answer. */
  end(): ReadText {
    const { held, format } = this;
    this.held = '';
    const begins = held.trimStart();
    const body = format.begin === '' ? begins : begins.slice(format.begin.length);
    const calls = begins.startsWith(format.begin || '{') ? this.calls(body) : null;
    if (calls) return { text: '', calls };
    return { text: this.called && begins === '' ? '' : held, calls: [] };
  }

  /**
   * Parses the complete answer of a format without tags. Such an answer consists of calls from its first
   * character, or has none.
   */
  private whole(): ReadText {
    const begins = this.held.trimStart();
    if (begins === '' || begins.startsWith('{')) return NOTHING;
    const text = this.held;
    this.held = '';
    return { text, calls: [] };
  }

  private tagged(): ReadText {
    const { begin, end } = this.format;
    let text = '';
    const calls: ToolCall[] = [];
    for (;;) {
      const from = this.held.indexOf(begin);
      if (from < 0) break;
      const to = this.held.indexOf(end, from);
      text += this.before(this.held.slice(0, from));
      this.held = this.held.slice(from);
      if (to < 0) return { text, calls };
      const size = to - from + end.length;
      const found = this.calls(this.held.slice(begin.length, to - from));
      if (found) calls.push(...found);
      else text += this.held.slice(0, size);
      this.called ||= found !== null;
      this.held = this.held.slice(size);
    }
    // Space before a possible tag belongs to the tag.
    const open = shared(this.held, begin);
    const sure = this.held.slice(0, this.held.length - open).trimEnd();
    this.held = this.held.slice(sure.length);
    return { text: text + sure, calls };
  }

  private before(text: string): string {
    return text.trim() === '' ? '' : text.trimEnd();
  }

  /** Returns the calls in a text; null if it contains none. */
  private calls(text: string): ToolCall[] | null {
    const { key } = this.format;
    // Without tags, several calls follow each other.
    const parts = this.format.end === '' ? separated(text) : [text];
    const found = parts.map((part) => called(part, key));
    const isAll = found.every((call) => call !== null && this.names.includes(call.name));
    return isAll && found.length > 0 ? (found as ToolCall[]) : null;
  }
}

function called(text: string, key: string): ToolCall | null {
  const value = parsed(text);
  if (typeof value !== 'object' || value === null) return null;
  const { name, [key]: given = {} } = value as Record<string, unknown>;
  const isObject = typeof given === 'object' && given !== null && !Array.isArray(given);
  if (typeof name !== 'string' || !isObject) return null;
  return { name, arguments: memberText(text, key) ?? '{}' };
}

/**
 * Returns the text of an object's member as written, so that numbers keep all of their digits. The last
 * duplicate wins.
 * @param json text of an object @returns null if it has no such member
 */
function memberText(json: string, key: string): string | null {
  let found: string | null = null;
  let name = '';
  let [depth, from] = [0, 0];
  for (const { 0: sign, index } of json.matchAll(/"(?:[^"\\]+|\\.)*"|[{}[\]:,]/g)) {
    const isEnd = depth === 1 && (sign === ',' || sign === '}');
    if (isEnd && name === key) found = json.slice(from, index).trim();
    if (sign === '{' || sign === '[') depth++;
    else if (sign === '}' || sign === ']') depth--;
    else if (depth === 1 && sign === ':') from = index + 1;
    else if (depth === 1 && sign === ',') from = 0;
    else if (depth === 1 && from === 0) name = JSON.parse(sign) as string;
  }
  return found;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * Splits JSON objects separated by a semicolon or a line break. A single object is returned as one part.
 */
function separated(text: string): string[] {
  if (parsed(text) !== null) return [text];
  const parts: string[] = [];
  for (const piece of text.split(/(?<=\})\s*[;\n]\s*(?=\{)/)) parts.push(piece);
  return parts;
}
