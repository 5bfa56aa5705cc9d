/** Runs `work` with a signal that Ctrl-C fires. A second Ctrl-C ends the process. */
export async function untilInterrupted<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const leave = (): void => stop.abort();
  process.once('SIGINT', leave);
  try {
    return await work(stop.signal);
  } finally {
    process.off('SIGINT', leave);
  }
}
