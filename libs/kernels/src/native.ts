import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { KernelError, reason } from './errors.js';

/** Index of an operator in this thread's table. */
export type OpIndex = number;
/** A mapped file, owned by native code. */
export type Mapping = { readonly __mapping: unique symbol };

/** Exports of native/. Handles are integers; arguments and results pass through the exchange buffer. */
export interface Native {
  bind(buffer: Float64Array): void;
  intern(text: string): number;
  find(name: string): OpIndex;
  schema(op: OpIndex): { text: string; names: string[] };
  call(op: OpIndex, given: number, discard: boolean): number;
  flush(): number;
  release(count: number): void;
  backward(): void;
  gradients(): number;
  setGradEnabled(on: boolean): boolean;
  /** Sets the callback that recomputes a part of the forward pass, by its number. */
  onCompute(compute: (part: number) => void): void;
  /** Drops tensors that autograd would save until `endPart`; null saves them, even inside a part. */
  beginPart(part: number | null): void;
  endPart(): void;
  requiresGrad(handle: number): boolean;
  setRequiresGrad(handle: number, on: boolean): void;
  grad(handle: number): number;
  clearGrad(handle: number): void;
  fromBytes(
    bytes: Uint8Array,
    shape: readonly number[],
    scalarType: number,
    device: string,
  ): number;
  read(handle: number, widen: boolean): ArrayBuffer;
  mapFile(fd: number, size: number): Mapping;
  mapTensor(mapping: Mapping, offset: number, shape: readonly number[], scalarType: number): number;
  unmap(mapping: Mapping): void;
  setThreads(n: number): void;
  threads(): number;
  trim(): void;
  live(): number;
  /** Number of CUDA devices. */
  devices(): number;
  /** Bytes of a CUDA device: allocated, peak, free, total; null if libtorch does not report them. */
  deviceMemory(index: number): [number, number, number, number] | null;
  build(): {
    libtorch: string;
    major: number;
    minor: number;
    cuda: boolean;
    /** Whether our operators have CUDA implementations in this build. */
    cudaBodies: boolean;
    blas: string;
    config: string;
    ownOps: string[];
  };
}

const ADDON = new URL('../build/kernels.node', import.meta.url);
let loaded: Native | undefined;

/**
 * Returns the addon, loading it on the first call. Importing this library needs neither libtorch nor a build.
 * `GRAFT_KERNELS` selects another kernels.node (to compare two libtorch versions). `GRAFT_ISA` limits the instruction
 * set of our kernels and of libtorch.
 * @throws KernelError that explains how to build it
 */
export function native(): Native {
  return (loaded ??= load());
}

function load(): Native {
  const path = process.env['GRAFT_KERNELS'] ?? fileURLToPath(ADDON);
  const remedy = 'run `node libs/kernels/scripts/build.mjs`';
  if (!existsSync(path)) {
    throw new KernelError(
      'load',
      `the native kernels are not built (${path} is missing); ${remedy}`,
    );
  }
  limitInstructions(process.env['GRAFT_ISA']);
  // libgomp reads these when it is loaded. By default its idle threads spin for long, which starves other processes on
  // the same cores: a second trainer, the API, the tests. A spin count of 1,000 bridges the gap between two operators.
  if (process.env['OMP_WAIT_POLICY'] === undefined) {
    process.env['OMP_WAIT_POLICY'] = 'passive';
    process.env['GOMP_SPINCOUNT'] ??= '1000';
  }
  try {
    return createRequire(import.meta.url)(path) as Native;
  } catch (error) {
    const against = builtAgainst(dirname(path));
    throw new KernelError(
      'load',
      `cannot load the native kernels${against}: ${reason(error)}; ${remedy}`,
      { cause: error },
    );
  }
}

/**
 * Values of the libraries' own variables for each `GRAFT_ISA`: ATen, oneDNN and MKL. On AMD processors, MKL only
 * distinguishes "COMPATIBLE" from the rest.
 */
const LIMITS: Readonly<Record<string, readonly [aten: string, oneDnn: string, mkl: string]>> = {
  generic: ['default', 'SSE41', 'COMPATIBLE'],
  avx2: ['avx2', 'AVX2', 'AVX2'],
  avx512: ['avx512', 'AVX512_CORE_VNNI', 'AVX512'],
  avx512bf16: ['avx512', 'AVX512_CORE_BF16', 'AVX512'],
  amx: ['avx512', 'AVX512_CORE_AMX', 'AVX512'],
};

/** Sets the variables that the libraries read when they are loaded. @throws KernelError for an unknown name */
function limitInstructions(name: string | undefined): void {
  if (name === undefined) return;
  const limits = Object.hasOwn(LIMITS, name) ? LIMITS[name] : undefined;
  if (!limits) {
    const known = Object.keys(LIMITS).join(', ');
    throw new KernelError('load', `GRAFT_ISA must be one of ${known}, got ${JSON.stringify(name)}`);
  }
  [process.env['ATEN_CPU_CAPABILITY'], process.env['ONEDNN_MAX_CPU_ISA'], process.env['MKL_CBWR']] =
    limits;
}

function builtAgainst(folder: string): string {
  try {
    const info = JSON.parse(readFileSync(join(folder, 'build.json'), 'utf8')) as { lib?: string };
    return info.lib ? ` (built against ${info.lib})` : '';
  } catch {
    return ''; // only the error message is less detailed
  }
}
