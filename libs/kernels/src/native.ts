import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { KernelError, reason } from './errors.js';

/** An operator's index in this thread's table. */
export type OpIndex = number;
/** A mapped file, owned by native code. */
export type Mapping = { readonly __mapping: unique symbol };

/** What native/ exports. Handles are integers; arguments and results pass through the exchange buffer. */
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
  /** Who computes a part of a forward once more, by its number. */
  onCompute(compute: (part: number) => void): void;
  /** Until `endPart` autograd saves nothing; null: all, in whatever part this is. */
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
  /** Bytes of a CUDA device: allocated, its peak, free, total; null where libtorch cannot tell. */
  deviceMemory(index: number): [number, number, number, number] | null;
  build(): {
    libtorch: string;
    major: number;
    minor: number;
    cuda: boolean;
    /** Whether our operators have bodies of their own on CUDA devices. */
    cudaBodies: boolean;
    blas: string;
    config: string;
    ownOps: string[];
  };
}

const ADDON = new URL('../build/kernels.node', import.meta.url);
let loaded: Native | undefined;

/**
 * The addon, loaded at the first call: importing this library needs neither libtorch nor a build.
 * `GRAFT_KERNELS` names another kernels.node (for comparing two libtorch versions); `GRAFT_ISA` limits the
 * instruction set of our kernels and of libtorch's, as on a processor that has no better one.
 * @throws KernelError saying how to build it.
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
  // libgomp reads these when it is loaded. By default its idle threads spin for long, which starves whatever shares
  // the cores: a second trainer, the API, the tests. A thousand turns bridge the gap between two operators.
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
 * What the libraries' own variables call the instruction sets that `GRAFT_ISA` may name: ATen's, oneDNN's, MKL's (which
 * on AMD's processors tells "COMPATIBLE" from the rest only).
 */
const LIMITS: Readonly<Record<string, readonly [aten: string, oneDnn: string, mkl: string]>> = {
  generic: ['default', 'SSE41', 'COMPATIBLE'],
  avx2: ['avx2', 'AVX2', 'AVX2'],
  avx512: ['avx512', 'AVX512_CORE_VNNI', 'AVX512'],
  avx512bf16: ['avx512', 'AVX512_CORE_BF16', 'AVX512'],
  amx: ['avx512', 'AVX512_CORE_AMX', 'AVX512'],
};

/** Read by the libraries when they are loaded. @throws KernelError for a name that there is not */
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
    return ''; // only the error message is poorer for it
  }
}
