// Formats of tool calls in chat templates, detected by the template's source.
export interface ToolFormat {
  /** Text before and after a call; '' if there is none. */
  readonly begin: string;
  readonly end: string;
  /** Key of the arguments. */
  readonly key: string;
}

/** Hermes, Qwen 2.5 and 3, SmolLM3 and others: `<tool_call>{"name": …, "arguments": …}</tool_call>`. */
const HERMES: ToolFormat = { begin: '<tool_call>', end: '</tool_call>', key: 'arguments' };
/** Llama 3.1 and later: only `{"name": …, "parameters": …}`. */
const LLAMA: ToolFormat = { begin: '', end: '', key: 'parameters' };

/**
 * Returns the format; null if the template does not support tools, `unknown` if their format is not
 * supported.
 */
export function toolFormatOf(template: string | null): ToolFormat | 'unknown' | null {
  if (template === null || !/\btools\b/.test(template)) return null;
  // Qwen3-Coder's calls are other tags within such tags.
  if (template.includes('<tool_call>') && !template.includes('<function=')) return HERMES;
  if (/"name"\s*:.*"parameters"\s*:/.test(template)) return LLAMA;
  return 'unknown';
}

/** Length of the longest suffix of `text` that is a prefix of `tag`. */
export function shared(text: string, tag: string): number {
  for (let length = Math.min(text.length, tag.length - 1); length > 0; length--)
    if (tag.startsWith(text.slice(-length))) return length;
  return 0;
}
