/** Which of the processor's instruction sets Graft's own kernels (native/ops) use, and what they compute. */
import { call } from '../call.js';
import { native } from '../native.js';
import type { Tensor } from '../tensor.js';

const INSTRUCTION_SETS = ['generic', 'avx2', 'avx512', 'avx512bf16', 'amx'] as const;
export type InstructionSet = (typeof INSTRUCTION_SETS)[number];

/**
 * The instruction set that the own kernels use: the best there is, or `wanted` from now on (tests compare them). `amx` is
 * used where `GRAFT_ISA` names it, or it is wanted.
 */
export const instructionSet = (wanted?: InstructionSet): InstructionSet =>
  INSTRUCTION_SETS[
    call('graft::instruction_set', wanted ? INSTRUCTION_SETS.indexOf(wanted) : -1) as number
  ] as InstructionSet;

/** Those that may be wanted: the processor's, within `GRAFT_ISA`. */
export const instructionSets = (): readonly InstructionSet[] =>
  INSTRUCTION_SETS.slice(0, call('graft::instruction_sets') as number);

/**
 * Whether Graft's own kernels compute this: in f32 or bf16 on the CPU, or on a CUDA device where this build has bodies
 * for it. Others take libtorch's operators.
 */
export const isOwn = ({ device, dtype }: Tensor): boolean =>
  (dtype === 'f32' || dtype === 'bf16') && hasBodies(device) && ownKernels();

/** The same of operators that have no body but the CPU's. */
export const isOwnOnCpu = (t: Tensor): boolean => t.device === 'cpu' && isOwn(t);

let cudaBodies: boolean | undefined;

function hasBodies(device: string): boolean {
  if (device === 'cpu') return true;
  return device.startsWith('cuda') && (cudaBodies ??= native().build().cudaBodies);
}

/**
 * Whether Graft's own kernels are used at all. Off, the CPU takes the compositions of libtorch's operators that other
 * devices take, so that these can be tested where there is no other device; `GRAFT_OWN_KERNELS=0` starts it off.
 * On CUDA they are asked for with `GRAFT_OWN_KERNELS=1` (native/cuda/register.cpp).
 */
export function ownKernels(wanted?: boolean): boolean {
  const host = native() as { own?: boolean };
  if (wanted !== undefined) host.own = wanted;
  return (host.own ??= process.env['GRAFT_OWN_KERNELS'] !== '0');
}
