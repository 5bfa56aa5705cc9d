/**
 * Exchange buffer: doubles that carry arguments to native code and results back, so that a call crosses Node-API once,
 * not once per argument. native/addon.h describes the layout.
 */
import { native } from './native.js';

export const NONE = 0;
export const DEFAULT = 1;
export const TENSOR = 2;
export const NUMBER = 3;
export const BOOL = 4;
export const STRING = 5;
export const LIST = 6;
export const TENSOR_OUT = 7;

interface Exchange {
  data: Float64Array;
  readonly strings: Map<string, number>;
}

let exchange: Exchange | undefined;

// The state is stored on the addon's exports, which Node shares within a thread, so that two copies of this module (a
// spec's and a build's) share it.
function open(): Exchange {
  const host = native() as { exchange?: Exchange };
  if (!host.exchange) {
    host.exchange = { data: new Float64Array(1 << 14), strings: new Map() };
    native().bind(host.exchange.data);
  }
  return (exchange = host.exchange);
}

/** Returns the buffer, at least `size` doubles long. Its contents survive growing. */
export function buffer(size = 0): Float64Array {
  const state = exchange ?? open();
  if (size > state.data.length) {
    const larger = new Float64Array(2 ** Math.ceil(Math.log2(size)));
    larger.set(state.data);
    state.data = larger;
    native().bind(larger);
  }
  return state.data;
}

/** Returns native code's index of a string. */
export function intern(text: string): number {
  const { strings } = exchange ?? open();
  let index = strings.get(text);
  if (index === undefined) {
    index = native().intern(text);
    strings.set(text, index);
  }
  return index;
}

/** Enlarges the buffer for results that did not fit. `needed` is the return value of the native call. */
export function settle(needed: number): Float64Array {
  const data = exchange?.data ?? buffer();
  if (needed <= data.length) return data;
  const larger = buffer(needed);
  native().flush();
  return larger;
}
