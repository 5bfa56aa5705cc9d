import { instructionSet, kernelsInfo } from '@graft/kernels';

/** Version of the numerics. Increment it with every change that may alter a bit of a training step's result. */
const NUMERICS = 11;

/**
 * Identifies the build: a checkpoint resumes bit for bit only on an equal build (and with an equal number of threads).
 */
export function trainerBuild(): string {
  const build = `${NUMERICS}+libtorch${kernelsInfo().libtorch}+${instructionSet()}`;
  // The libraries may use newer instructions than our kernels do; the limit prevents that.
  const limit = process.env['GRAFT_ISA'];
  return limit === undefined ? build : `${build}+max-${limit}`;
}

/** Whether a build intentionally computes steps differently, so that results differ by more than rounding. */
export function computesOtherwise(build: string): boolean {
  return build.split('+', 1)[0] !== String(NUMERICS);
}
