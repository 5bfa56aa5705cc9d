// Extracts the problems from pino's JSON logs, without the access log.

interface Line {
  readonly level?: number;
  readonly time?: number;
  readonly msg?: string;
  readonly err?: { readonly message?: string };
}

const WARN = 40;
const ERROR = 50;

/** Last warnings and errors of a log, with their time and message. Lines that are not JSON are unchanged. */
export function problemsIn(log: string, most: number): string[] {
  return log
    .split('\n')
    .flatMap((line) => problem(line) ?? [])
    .slice(-most);
}

function problem(text: string): string | null {
  if (text.trim() === '') return null;
  let line: Line;
  try {
    line = JSON.parse(text) as Line;
  } catch {
    return text; // Output that is not from the logger, such as a stack trace.
  }
  const { level = 0, time, msg, err } = line;
  if (level < WARN) return null;
  const when = time === undefined ? '' : `${new Date(time).toTimeString().slice(0, 8)} `;
  const what = [msg, err?.message].filter((part) => part !== undefined).join(': ');
  return `${when}${level < ERROR ? 'warning' : 'error'}: ${what}`;
}
