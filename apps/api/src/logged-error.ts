/** Maximum depth of causes to log. */
const MOST_CAUSES = 4;

/** Fields of PostgreSQL errors that contain no values. `detail`, `where` and `hint` may quote them. */
const PLACE = ['code', 'schema', 'table', 'column', 'constraint', 'routine', 'query'] as const;

/** SQLSTATEs of class 22: the value was invalid, and the message quotes it. */
const DATA_EXCEPTION = /^22...$/;

/**
 * Converts an error for the log: type, message, stack, PostgreSQL fields and causes. Other fields are dropped because
 * those of database errors contain the statement's parameters, which users sent.
 */
export function loggedError(error: unknown, causes = MOST_CAUSES): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: String(error) };
  const fields = error as Error & Readonly<Record<(typeof PLACE)[number], unknown>>;
  const place = Object.fromEntries(
    PLACE.map((name) => [name, fields[name]]).filter(([, value]) => typeof value === 'string'),
  );
  const quotes = DATA_EXCEPTION.test(String(fields.code));
  const message = quotes ? `a value was rejected (SQLSTATE ${String(fields.code)})` : error.message;
  const logged = { type: error.constructor.name, message, ...place, stack: frames(error) };
  if (causes === 0) return logged;
  const inner = (one: unknown): object => loggedError(one, causes - 1);
  return {
    ...logged,
    ...(error.cause === undefined ? {} : { cause: inner(error.cause) }),
    ...(error instanceof AggregateError ? { errors: error.errors.map(inner) } : {}),
  };
}

// The stack starts with the message, which is logged separately.
const frames = ({ stack = '' }: Error): string =>
  stack
    .split('\n')
    .filter((line) => /^ {4}at /.test(line))
    .join('\n');
