/** Plug-ins by key. @throws Error at load if two plug-ins have the same key. */
export function registry<P>(
  kind: string,
  plugins: readonly P[],
  keys: (plugin: P) => readonly string[],
): ReadonlyMap<string, P> {
  const map = new Map<string, P>();
  for (const plugin of plugins) {
    for (const key of keys(plugin)) {
      if (map.has(key)) throw new Error(`duplicate ${kind} '${key}'`);
      map.set(key, plugin);
    }
  }
  return map;
}
