import { Wrench } from 'lucide-react';
import { useState } from 'react';
import { Button } from '../../ui/controls/button.js';
import type { ToolCall } from './exchange.js';

/** Formats arguments with line breaks, if they are valid JSON. */
function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

interface Props {
  readonly calls: readonly ToolCall[];
  /** Sends the results. Null if the model has them already. */
  readonly answer: ((results: readonly string[]) => void) | null;
}

/** Calls of tools in an answer. The user types what each returns. */
export function ToolCalls({ calls, answer }: Props) {
  const [results, setResults] = useState<readonly string[]>(calls.map(() => ''));
  return (
    <form
      className="tool-calls"
      onSubmit={(event) => {
        event.preventDefault();
        answer?.(results);
      }}
    >
      {calls.map((call, n) => (
        <section key={call.id} className="tool-call" aria-label={`Call of ${call.name}`}>
          <p>
            <Wrench aria-hidden="true" /> <b>{call.name}</b>
          </p>
          <pre tabIndex={0}>{pretty(call.arguments)}</pre>
          {answer && (
            <textarea
              rows={2}
              className="code"
              aria-label={`Result of ${call.name}`}
              placeholder='What the function returns, such as {"celsius": 4}'
              value={results[n] ?? ''}
              onChange={({ target }) => setResults((now) => now.with(n, target.value))}
            />
          )}
        </section>
      ))}
      {answer && (
        <Button type="submit" size="s" disabled={results.every((text) => text.trim() === '')}>
          {calls.length > 1 ? 'Send results' : 'Send result'}
        </Button>
      )}
    </form>
  );
}
