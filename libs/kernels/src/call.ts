/**
 * Calls any operator. Its name is a schema's (`aten::linear`, `aten::add.Tensor`, `graft::dropout`), its arguments
 * follow the schema's order, and `undefined` means the default.
 */
import { KernelError, reason } from './errors.js';
import * as tag from './exchange.js';
import { buffer, intern, settle } from './exchange.js';
import { native } from './native.js';
import type { OpIndex } from './native.js';
import { describe, takeTensor, Tensor } from './tensor.js';

export type Argument = Tensor | number | boolean | string | null | undefined | readonly Argument[];

const indices = new Map<string, OpIndex>();

/** Runs an operator and returns its result: a tensor, a number, a list, or an array of several. */
export function call(op: string, ...args: Argument[]): unknown {
  const data = settle(invoke(op, args, false));
  const cursor = { at: 1 };
  const count = data[0] as number;
  if (count === 0) return undefined;
  if (count === 1) return read(data, cursor);
  return Array.from({ length: count }, () => read(data, cursor));
}

/** Runs an operator that returns one tensor. */
export function one(op: string, ...args: Argument[]): Tensor {
  const tensor = takeTensor(settle(invoke(op, args, false)), 1);
  if (tensor === null) throw new KernelError(op, `${op}: returned no tensor`);
  return tensor;
}

/** Runs an operator that returns several tensors, or a list of them. */
export function many(op: string, ...args: Argument[]): Tensor[] {
  return call(op, ...args) as Tensor[];
}

/** Runs an operator for its effect. */
export function run(op: string, ...args: Argument[]): void {
  invoke(op, args, true);
}

function invoke(op: string, args: readonly Argument[], discard: boolean): number {
  try {
    const addon = native();
    let index = indices.get(op);
    if (index === undefined) {
      index = addon.find(op);
      indices.set(op, index);
    }
    let at = 0;
    buffer(); // results need it even without arguments
    for (const arg of args) at = write(arg, at);
    return addon.call(index, args.length, discard);
  } catch (error) {
    if (error instanceof KernelError) throw error;
    throw new KernelError(op, `${describeCall(op, args)}: ${reason(error)}`, { cause: error });
  }
}

/** Writes one argument at `at` and returns the position of the next one. */
export function write(arg: Argument, at: number): number {
  let data = buffer(at + 2);
  if (arg instanceof Tensor) {
    if (arg.handle === 0) throw new Error('a tensor was disposed before this call');
    data[at] = tag.TENSOR;
    data[at + 1] = arg.handle;
    return at + 2;
  }
  switch (typeof arg) {
    case 'number':
      data[at] = tag.NUMBER;
      data[at + 1] = arg;
      return at + 2;
    case 'boolean':
      data[at] = tag.BOOL;
      data[at + 1] = arg ? 1 : 0;
      return at + 2;
    case 'string': {
      const index = intern(arg);
      data[at] = tag.STRING;
      data[at + 1] = index;
      return at + 2;
    }
    case 'undefined':
      data[at] = tag.DEFAULT;
      return at + 1;
  }
  if (arg === null) {
    data[at] = tag.NONE;
    return at + 1;
  }
  if (!Array.isArray(arg)) throw new Error(`cannot pass ${Object.prototype.toString.call(arg)}`);
  data = buffer(at + 2 + arg.length * 2);
  data[at] = tag.LIST;
  data[at + 1] = arg.length;
  let next = at + 2;
  for (const item of arg as readonly Argument[]) next = write(item, next);
  return next;
}

function read(data: Float64Array, cursor: { at: number }): unknown {
  const at = cursor.at;
  switch (data[at]) {
    case tag.TENSOR_OUT: {
      cursor.at += 5 + (data[at + 4] as number);
      return takeTensor(data, at);
    }
    case tag.NONE:
      cursor.at += 1;
      return null;
    case tag.LIST:
      cursor.at += 2;
      return Array.from({ length: data[at + 1] as number }, () => read(data, cursor));
    case tag.BOOL:
      cursor.at += 2;
      return data[at + 1] === 1;
    default:
      cursor.at += 2;
      return data[at + 1];
  }
}

function describeCall(op: string, args: readonly Argument[]): string {
  const index = indices.get(op);
  const names = index === undefined ? [] : native().schema(index).names;
  const texts = args.flatMap((arg, i) =>
    arg === undefined
      ? []
      : [names[i] ? `${names[i]} ${describeArgument(arg)}` : describeArgument(arg)],
  );
  return `${op}(${texts.join(', ')})`;
}

const LONGEST_LIST = 8;

function describeArgument(arg: Argument): string {
  if (arg instanceof Tensor) return describe(arg);
  if (arg === null) return 'none';
  if (typeof arg === 'string') return `'${arg}'`;
  if (!Array.isArray(arg)) return String(arg);
  const items = arg as readonly Argument[];
  const shown = items.slice(0, LONGEST_LIST).map(describeArgument);
  if (items.length > LONGEST_LIST) shown.push(`… ${items.length} in all`);
  return `[${shown.join(', ')}]`;
}
