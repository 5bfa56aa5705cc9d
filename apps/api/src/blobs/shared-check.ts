/**
 * Wraps a check so that concurrent callers share it and a success is cached for `ms` milliseconds. A failure is not
 * cached.
 */
export function sharedCheck(check: () => Promise<void>, ms: number): () => Promise<void> {
  let shared: Promise<void> | null = null;
  let until = Infinity;
  return () => {
    if (shared && performance.now() < until) return shared;
    until = Infinity;
    const began = check();
    shared = began;
    began.then(
      () => (until = performance.now() + ms),
      () => (shared = null),
    );
    return began;
  };
}
