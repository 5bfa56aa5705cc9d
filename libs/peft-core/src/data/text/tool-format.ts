// The forms of tool calls that chat templates ask for, told by the template's own text.
export interface ToolFormat {
  /** Around a call; '' where it stands alone. */
  readonly begin: string;
  readonly end: string;
  /** Of the member that holds the arguments. */
  readonly key: string;
}

/** Hermes, Qwen 2.5 and 3, SmolLM3 and others: `<tool_call>{"name": …, "arguments": …}</tool_call>`. */
const HERMES: ToolFormat = { begin: '<tool_call>', end: '</tool_call>', key: 'arguments' };
/** Llama 3.1 and later: `{"name": …, "parameters": …}` and nothing beside it. */
const LLAMA: ToolFormat = { begin: '', end: '', key: 'parameters' };

/** Null: the template has no tools. `unknown`: it has, in a form that is not known here. */
export function toolFormatOf(template: string | null): ToolFormat | 'unknown' | null {
  if (template === null || !/\btools\b/.test(template)) return null;
  // Qwen3-Coder's calls are tags within such tags.
  if (template.includes('<tool_call>') && !template.includes('<function=')) return HERMES;
  if (/"name"\s*:.*"parameters"\s*:/.test(template)) return LLAMA;
  return 'unknown';
}

/** Length of the longest end of `text` that begins `tag`. */
export function shared(text: string, tag: string): number {
  for (let length = Math.min(text.length, tag.length - 1); length > 0; length--)
    if (tag.startsWith(text.slice(-length))) return length;
  return 0;
}
