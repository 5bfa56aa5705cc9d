/** The kinds of plug-in: each is one file and one line in its registry. */
import type { Method } from './methods/method.js';
import type { HfTable } from './models/frame/hf-config.js';
import type { ModelPlugin } from './models/model.js';
import type { Quantizer } from './quant/quantizer.js';

/** Gives a method its type. */
export const defineMethod = <O>(method: Method<O>): Method<O> => method;
/** Gives a model family its type. */
export const defineModel = <T extends HfTable>(model: ModelPlugin<T>): ModelPlugin<T> => model;
/** Gives a quantiser its type. */
export const defineQuantizer = (quantizer: Quantizer): Quantizer => quantizer;

/** Plug-ins by key. @throws Error at load when two have the same. */
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
