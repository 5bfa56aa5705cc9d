/** Tells whether a statement failed because the database cannot be reached. The same statement may succeed later. */
export function isDatabaseAway(error: unknown): boolean {
  const code = String((error as { code?: unknown } | null)?.code ?? '');
  return (
    /^(ECONNREFUSED|ECONNRESET|57P0[123]|08...|53300|25006)$/.test(code) ||
    /timeout exceeded when trying to connect|Connection terminated/.test(
      String((error as Error | null)?.message),
    )
  );
}
