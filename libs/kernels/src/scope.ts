/**
 * Memory has an explicit scope: tensors created inside `tidy` are freed with it unless returned. JavaScript's garbage
 * collector never decides when 200 MB are freed; it is only a backstop for handles created outside every scope.
 */
import { KernelError } from './errors.js';
import { buffer } from './exchange.js';
import { native } from './native.js';

/** The part of a tensor that a scope needs. */
export interface Scoped {
  handle: number;
  /** Whether an owner, and not a scope, frees the tensor. */
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

/** Adds a new tensor to the innermost scope, or registers it with the garbage collector if there is none. */
export function adopt(tensor: Scoped): void {
  const scope = scopes[scopes.length - 1];
  if (scope) scope.made.push(tensor);
  else own(tensor);
}

/** Tensors kept in each running `orFree`, innermost last. */
const unclaimed: Scoped[][] = [];

function own(tensor: Scoped): void {
  tensor.kept = true;
  unclaimed[unclaimed.length - 1]?.push(tensor);
  backstop.register(tensor, tensor.handle, tensor);
}

/** Frees a tensor immediately. Freeing it twice is allowed. */
export function free(tensor: Scoped): void {
  if (tensor.handle === 0) return;
  if (tensor.kept) backstop.unregister(tensor);
  buffer()[0] = tensor.handle;
  tensor.handle = 0;
  native().release(1);
}

/** Removes `tensor` from every open scope, so that its owner must dispose it. Returns it. */
export function keep<T extends Scoped>(tensor: T): T {
  if (tensor.handle === 0) throw new KernelError('keep', 'keep: the tensor was disposed');
  if (!tensor.kept) own(tensor);
  return tensor;
}

/**
 * Runs `fn` and frees every tensor created inside it, except those in its result: a tensor, or arrays, plain objects,
 * Maps and Sets of tensors. These move to the enclosing scope. If `fn` throws, all created tensors are freed. `fn` must
 * be synchronous.
 */
export function tidy<T>(fn: () => T): T {
  const { made, result, survivors } = scoped(fn);
  release(made, survivors);
  return result;
}

/** Like `tidy`, but other tensors created by `fn` are freed when `end` is called. */
export function tidyLater<T>(fn: () => T): { readonly result: T; readonly end: () => void } {
  const { made, result, survivors } = scoped(fn);
  const others = made.filter((tensor) => !survivors.has(tensor));
  release(
    made.filter((tensor) => survivors.has(tensor)),
    survivors,
  );
  return { result, end: () => release(others, undefined) };
}

/** Tensors created by `fn`, and those in its result. */
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
 * Runs `fn`. If it throws, every tensor kept inside it is freed, because its owner does not exist. `fn` must be
 * synchronous, and must not keep tensors that others use after a failure.
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

/** Number of open scopes. */
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
