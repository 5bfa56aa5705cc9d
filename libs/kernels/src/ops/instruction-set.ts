/** Selects the instruction set of Graft's kernels (native/ops), and reports what they support. */
import { call } from '../call.js';
import { native } from '../native.js';
import type { Tensor } from '../tensor.js';

const INSTRUCTION_SETS = ['generic', 'avx2', 'avx512', 'avx512bf16', 'amx'] as const;
export type InstructionSet = (typeof INSTRUCTION_SETS)[number];

/**
 * Returns the instruction set in use: the best available one, or `requested` from now on (tests compare them).
 * `amx` is used only if `GRAFT_ISA` or `requested` selects it.
 */
export const instructionSet = (requested?: InstructionSet): InstructionSet =>
  INSTRUCTION_SETS[
    call('graft::instruction_set', requested ? INSTRUCTION_SETS.indexOf(requested) : -1) as number
  ] as InstructionSet;

/** Selectable instruction sets: the processor's, within `GRAFT_ISA`. */
export const instructionSets = (): readonly InstructionSet[] =>
  INSTRUCTION_SETS.slice(0, call('graft::instruction_sets') as number);

/**
 * Whether Graft's own kernels support this tensor: f32 or bf16 on the CPU, or on a CUDA device if this build has CUDA
 * implementations. Others use libtorch's operators.
 */
export const isOwn = ({ device, dtype }: Tensor): boolean =>
  (dtype === 'f32' || dtype === 'bf16') && hasBodies(device) && ownKernels();

/** Like `isOwn`, for operators that only have a CPU implementation. */
export const isOwnOnCpu = (t: Tensor): boolean => t.device === 'cpu' && isOwn(t);

let cudaBodies: boolean | undefined;

function hasBodies(device: string): boolean {
  if (device === 'cpu') return true;
  return device.startsWith('cuda') && (cudaBodies ??= native().build().cudaBodies);
}

/**
 * Enables or disables Graft's own kernels. If disabled, the CPU uses the compositions of libtorch's operators that
 * other devices use, so that these can be tested without another device. `GRAFT_OWN_KERNELS=0` disables them at start.
 * On CUDA, `GRAFT_OWN_KERNELS=1` enables them (native/cuda/register.cpp).
 */
export function ownKernels(requested?: boolean): boolean {
  const host = native() as { own?: boolean };
  if (requested !== undefined) host.own = requested;
  return (host.own ??= process.env['GRAFT_OWN_KERNELS'] !== '0');
}
