/** Calls `work` for each item, with at most `atOnce` calls running. Rejects with the first failure. */
export async function inParallel<Item>(
  items: Iterable<Item> | AsyncIterable<Item>,
  atOnce: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  for await (const item of items) {
    const one: Promise<void> = work(item).finally(() => running.delete(one));
    // The promises below report a failure. This handler avoids an unhandled rejection after they have stopped
    // waiting.
    one.catch(() => undefined);
    running.add(one);
    if (running.size >= atOnce) await Promise.race(running);
  }
  await Promise.all(running);
}
