import { dtypeName, dtypeOf, scalarType, viewAs } from './dtype.js';
import type { Dtype, TypedArray } from './dtype.js';
import { device } from './device.js';
import type { Device } from './device.js';
import { KernelError, reason } from './errors.js';
import { buffer, LIST, NONE, settle, TENSOR, TENSOR_OUT } from './exchange.js';
import { native } from './native.js';
import { adopt, free } from './scope.js';
import type { Scoped } from './scope.js';

const deviceOf = (number: number): Device =>
  number === -1 ? 'cpu' : number === -2 ? 'meta' : `cuda:${number}`;

/** Handle to libtorch memory. Operators create it; `tidy` frees it, or `dispose` if it is kept. */
export class Tensor implements Scoped {
  /** Internal: the native handle, 0 once disposed. */
  handle: number;
  /** Internal: whether an owner, and not a scope, frees it. */
  kept = false;

  constructor(
    handle: number,
    readonly shape: readonly number[],
    readonly dtype: Dtype,
    readonly device: Device,
  ) {
    this.handle = handle;
    adopt(this);
  }

  /** Number of elements. */
  get size(): number {
    return this.shape.reduce((product, n) => product * n, 1);
  }

  get disposed(): boolean {
    return this.handle === 0;
  }

  get requiresGrad(): boolean {
    return this.#guard('requiresGrad', () => native().requiresGrad(this.#live('requiresGrad')));
  }

  /** @throws KernelError unless the tensor is a leaf of floating type. */
  set requiresGrad(on: boolean) {
    this.#guard('requiresGrad', () => native().setRequiresGrad(this.#live('requiresGrad'), on));
  }

  /** The accumulated gradient of a leaf: a new handle in the current scope, or null. */
  get grad(): Tensor | null {
    return this.#guard('grad', () => takeTensor(settle(native().grad(this.#live('grad'))), 1));
  }

  /** Clears the gradient (sets it to none, which also frees it). */
  zeroGrad(): void {
    this.#guard('zeroGrad', () => native().clearGrad(this.#live('zeroGrad')));
  }

  /** Returns the same memory, outside the autograd graph. */
  detach(): Tensor {
    return this.#guard('detach', () => {
      const data = buffer();
      data[0] = TENSOR;
      data[1] = this.#live('detach');
      const found = takeTensor(settle(native().call(native().find('aten::detach'), 1, false)), 1);
      return found as Tensor;
    });
  }

  /** Returns the only element as a number (booleans as 0 or 1; int64 beyond 2^53 loses precision). */
  item(): number {
    this.#live('item');
    if (this.size !== 1)
      throw new KernelError('item', `item(${describe(this)}): expected a tensor with one element`);
    return Number(this.toArray()[0]);
  }

  /** Copies the elements in row-major order; bf16 and f16 become Float32Array, bool Uint8Array. */
  toArray(): TypedArray {
    return this.#guard('toArray', () =>
      viewAs(this.dtype, native().read(this.#live('toArray'), true)),
    );
  }

  /** Copies the raw little-endian bytes in row-major order. */
  bytes(): Uint8Array {
    return this.#guard('bytes', () => new Uint8Array(native().read(this.#live('bytes'), false)));
  }

  /** Frees the memory now, unless a view or an autograd graph uses it. Later use throws; disposing twice is fine. */
  dispose(): void {
    free(this);
  }

  /** Accumulates gradients in the leaves that this was computed from. `grad` is optional for one element. */
  backward(grad?: Tensor): void {
    this.#guard('backward', () => {
      const data = buffer();
      data.set([LIST, 1, TENSOR, this.#live('backward'), LIST, 1]);
      data[6] = grad ? TENSOR : NONE;
      if (grad) data[7] = grad.#live('backward');
      native().backward();
    });
  }

  toString(): string {
    return `Tensor ${describe(this)}`;
  }

  #live(op: string): number {
    if (this.handle === 0)
      throw new KernelError(op, `${op}(${describe(this)}): the tensor was disposed`);
    return this.handle;
  }

  #guard<T>(op: string, fn: () => T): T {
    try {
      return fn();
    } catch (error) {
      if (error instanceof KernelError) throw error;
      throw new KernelError(op, `${op}(${describe(this)}): ${reason(error)}`, { cause: error });
    }
  }
}

/** Returns `f32[2,3]`, with unusual properties appended. */
export function describe(tensor: Tensor): string {
  const text = `${tensor.dtype}[${tensor.shape.join(',')}]`;
  const where = tensor.device === 'cpu' ? '' : ` ${tensor.device}`;
  return text + where + (tensor.disposed ? ' disposed' : '');
}

/** Reads a tensor (or null) that native code wrote at `at`. */
export function takeTensor(data: Float64Array, at: number): Tensor | null {
  if (data[at] !== TENSOR_OUT) return null;
  const handle = data[at + 1] as number;
  const dtype = dtypeName(data[at + 2] as number);
  const index = data[at + 3] as number;
  const dims = data[at + 4] as number;
  const shape = new Array<number>(dims);
  for (let i = 0; i < dims; i++) shape[i] = data[at + 5 + i] as number;
  if (dtype === undefined) {
    const code = data[at + 2];
    data[0] = handle;
    native().release(1);
    throw new KernelError('dtype', `the result has an unsupported element type (${code})`);
  }
  return new Tensor(handle, shape, dtype, deviceOf(index));
}

/** Wraps a handle that native code has just created. */
export function wrap(
  handle: number,
  shape: readonly number[],
  dtype: Dtype,
  at: Device = 'cpu',
): Tensor {
  return new Tensor(handle, Object.freeze([...shape]), dtype, at);
}

/**
 * Copies raw little-endian bytes, row-major, to the process's device. @throws KernelError if their number does not
 * match the shape
 */
export function fromBytes(bytes: Uint8Array, shape: readonly number[], dtype: Dtype): Tensor {
  const code = scalarType(dtype);
  try {
    const at = device();
    return wrap(native().fromBytes(bytes, shape, code, at), shape, dtype, at);
  } catch (error) {
    if (error instanceof KernelError) throw error;
    const got = `${bytes.byteLength} bytes, ${dtype}[${shape.join(',')}]`;
    throw new KernelError('fromBytes', `fromBytes(${got}): ${reason(error)}`, { cause: error });
  }
}

/** Copies an array whose elements have the memory layout of `dtypeOf(data)`. */
export function fromTyped(data: TypedArray, shape: readonly number[]): Tensor {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return fromBytes(bytes, shape, dtypeOf(data));
}
