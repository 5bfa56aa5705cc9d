export const isVisible = (): boolean => document.visibilityState !== 'hidden';

/** Registers a callback for when this tab is shown or hidden. Returns a function that removes it. */
export function onVisibility(changed: (visible: boolean) => void): () => void {
  const listener = () => changed(isVisible());
  document.addEventListener('visibilitychange', listener);
  return () => document.removeEventListener('visibilitychange', listener);
}

/** Resolves when this tab is visible, which may be immediately, or when `signal` aborts. */
export function whenVisible(signal: AbortSignal): Promise<void> {
  if (isVisible() || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      unwatch();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const unwatch = onVisibility((visible) => visible && done());
    signal.addEventListener('abort', done);
  });
}
