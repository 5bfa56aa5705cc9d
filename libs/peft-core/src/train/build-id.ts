import { instructionSet, kernelsInfo } from '@graft/kernels';

/** Raised whenever a change may alter a bit of a training step's result. */
const NUMERICS = 3;

/** A checkpoint resumes bit for bit only on an equal build (and an equal number of threads). */
export function trainerBuild(): string {
  return `${NUMERICS}+libtorch${kernelsInfo().libtorch}+${instructionSet()}`;
}
