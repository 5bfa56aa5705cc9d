/** Callers share a look that is in flight, and a success counts for so long. A failure counts for nobody who comes later. */
export function sharedLook(look: () => Promise<void>, ms: number): () => Promise<void> {
  let shared: Promise<void> | null = null;
  let until = Infinity;
  return () => {
    if (shared && performance.now() < until) return shared;
    until = Infinity;
    const began = look();
    shared = began;
    began.then(
      () => (until = performance.now() + ms),
      () => (shared = null),
    );
    return began;
  };
}
