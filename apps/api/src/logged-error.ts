/** Causes of causes that are followed. */
const MOST_CAUSES = 4;

/** What PostgreSQL says of a place; `detail`, `where` and `hint` may quote the values themselves. */
const PLACE = ['code', 'schema', 'table', 'column', 'constraint', 'routine', 'query'] as const;

/** SQLSTATEs of class 22: the value itself was wrong, and the message quotes it. */
const DATA_EXCEPTION = /^22...$/;

/**
 * An error as it may stand in a log: type, message, stack, place and causes. No other field of it, since those
 * of the database's errors hold the parameters of the statement, which are what users sent.
 */
export function loggedError(error: unknown, causes = MOST_CAUSES): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: String(error) };
  const fields = error as Error & Readonly<Record<(typeof PLACE)[number], unknown>>;
  const place = Object.fromEntries(
    PLACE.map((name) => [name, fields[name]]).filter(([, value]) => typeof value === 'string'),
  );
  const quotes = DATA_EXCEPTION.test(String(fields.code));
  const message = quotes ? `a value was refused (SQLSTATE ${String(fields.code)})` : error.message;
  const logged = { type: error.constructor.name, message, ...place, stack: frames(error) };
  if (causes === 0) return logged;
  const inner = (one: unknown): object => loggedError(one, causes - 1);
  return {
    ...logged,
    ...(error.cause === undefined ? {} : { cause: inner(error.cause) }),
    ...(error instanceof AggregateError ? { errors: error.errors.map(inner) } : {}),
  };
}

// a stack begins with the message
const frames = ({ stack = '' }: Error): string =>
  stack
    .split('\n')
    .filter((line) => /^ {4}at /.test(line))
    .join('\n');
