/**
 * Memory has a scope you can see: tensors made inside `tidy` die with it unless returned. JavaScript's
 * collector never decides when 200 MB go away; it is only a backstop for handles made outside every scope.
 */
import { KernelError } from './errors.js';
import { buffer } from './exchange.js';
import { native } from './native.js';

/** What a scope needs of a tensor. */
export interface Scoped {
  handle: number;
  /** Set while the tensor belongs to its owner and not to a scope. */
  kept: boolean;
  readonly shape: readonly number[];
}

interface Scope {
  readonly made: Scoped[];
}

const scopes: Scope[] = [];

const backstop = new FinalizationRegistry<number>((handle) => {
  buffer()[0] = handle;
  native().release(1);
});

/** Puts a new tensor in the innermost scope, or under the collector's care where there is none. */
export function adopt(tensor: Scoped): void {
  const scope = scopes[scopes.length - 1];
  if (scope) scope.made.push(tensor);
  else own(tensor);
}

/** What has been kept in each `orFree` that is running, the innermost last. */
const unclaimed: Scoped[][] = [];

function own(tensor: Scoped): void {
  tensor.kept = true;
  unclaimed[unclaimed.length - 1]?.push(tensor);
  backstop.register(tensor, tensor.handle, tensor);
}

/** Frees a tensor now. Freeing twice is allowed. */
export function free(tensor: Scoped): void {
  if (tensor.handle === 0) return;
  if (tensor.kept) backstop.unregister(tensor);
  buffer()[0] = tensor.handle;
  tensor.handle = 0;
  native().release(1);
}

/** Takes `tensor` out of every open scope: from now on its owner disposes it. Returns it. */
export function keep<T extends Scoped>(tensor: T): T {
  if (tensor.handle === 0) throw new KernelError('keep', 'keep: the tensor was disposed');
  if (!tensor.kept) own(tensor);
  return tensor;
}

/**
 * Runs `fn` and frees every tensor made inside it, except those in its result: a tensor, or arrays, plain
 * objects, Maps and Sets of them. They move to the enclosing scope. When `fn` throws, everything made is freed.
 * `fn` must be synchronous.
 */
export function tidy<T>(fn: () => T): T {
  const { made, result, survivors } = scoped(fn);
  release(made, survivors);
  return result;
}

/** Like `tidy`, but what `fn` has made beside its result is freed when `end` is called. */
export function tidyLater<T>(fn: () => T): { readonly result: T; readonly end: () => void } {
  const { made, result, survivors } = scoped(fn);
  const others = made.filter((tensor) => !survivors.has(tensor));
  release(
    made.filter((tensor) => survivors.has(tensor)),
    survivors,
  );
  return { result, end: () => release(others, undefined) };
}

/** What `fn` has made, and what of it is in its result. */
function scoped<T>(fn: () => T): Scope & { readonly result: T; readonly survivors: Set<Scoped> } {
  const { made }: Scope = { made: [] };
  scopes.push({ made });
  let result: T;
  try {
    result = fn();
    if (result instanceof Promise) {
      throw new KernelError(
        'tidy',
        'tidy: the function must be synchronous, it returned a Promise',
      );
    }
  } catch (error) {
    scopes.pop();
    release(made, undefined);
    throw error;
  }
  scopes.pop();
  const survivors = new Set<Scoped>();
  collect(result, survivors);
  return { made, result, survivors };
}

/**
 * Runs `fn`; when it throws, every tensor that was kept inside it is freed: whoever would own it was not made.
 * `fn` must be synchronous, and must not keep what others use after it has failed.
 */
export function orFree<T>(fn: () => T): T {
  const kept: Scoped[] = [];
  unclaimed.push(kept);
  try {
    const result = fn();
    unclaimed.pop();
    unclaimed[unclaimed.length - 1]?.push(...kept);
    return result;
  } catch (error) {
    unclaimed.splice(unclaimed.indexOf(kept));
    kept.forEach(free);
    throw error;
  }
}

/** How many scopes are open. */
export function scopeDepth(): number {
  return scopes.length;
}

function release(made: readonly Scoped[], survivors: ReadonlySet<Scoped> | undefined): void {
  if (made.length === 0) return;
  const data = buffer(made.length);
  let count = 0;
  for (const tensor of made) {
    if (tensor.handle === 0 || tensor.kept) continue;
    if (survivors?.has(tensor)) {
      adopt(tensor);
    } else {
      data[count++] = tensor.handle;
      tensor.handle = 0;
    }
  }
  if (count > 0) native().release(count);
}

function isTensor(value: object): boolean {
  return 'handle' in value && 'kept' in value;
}

function collect(value: unknown, into: Set<Scoped>): void {
  if (typeof value !== 'object' || value === null) return;
  if (isTensor(value)) {
    into.add(value as Scoped);
  } else if (Array.isArray(value) || value instanceof Set) {
    for (const item of value) collect(item, into);
  } else if (value instanceof Map) {
    for (const item of value.values()) collect(item, into);
  } else if (isPlain(value)) {
    for (const item of Object.values(value)) collect(item, into);
  }
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
