import { instructionSet, kernelsInfo } from '@graft/kernels';

/** Raised whenever a change may alter a bit of a training step's result. */
const NUMERICS = 11;

/** A checkpoint resumes bit for bit only on an equal build (and an equal number of threads). */
export function trainerBuild(): string {
  const build = `${NUMERICS}+libtorch${kernelsInfo().libtorch}+${instructionSet()}`;
  // The libraries may have better instructions than our kernels use: the limit keeps them from those.
  const limit = process.env['GRAFT_ISA'];
  return limit === undefined ? build : `${build}+max-${limit}`;
}

/** Whether a build computes steps otherwise by intent, so that more than rounding differs. */
export function computesOtherwise(build: string): boolean {
  return build.split('+', 1)[0] !== String(NUMERICS);
}
