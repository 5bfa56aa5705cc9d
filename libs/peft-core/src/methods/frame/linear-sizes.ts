// What methods count with when they say what they hold: numbers of some linears.
import type { LinearShape } from '../../nn/outline/outline.js';

/** Numbers in the weights of these linears. */
export const numbersIn = (linears: readonly LinearShape[]): number =>
  linears.reduce((sum, { inFeatures, outFeatures }) => sum + inFeatures * outFeatures, 0);

/**
 * Numbers that singular value decompositions of these weights take, one after another: copies, factors, and what LAPACK
 * keeps from its first call on: on a Xeon with AMX up to 10 MB more than the 20 MB that were enough elsewhere.
 */
export const decompositionNumbers = (linears: readonly LinearShape[]): number =>
  5 * Math.max(...linears.map((linear) => numbersIn([linear]))) + 9_000_000;

/** Inputs of these linears together, and their outputs: numbers of a row that all of them see, and give. */
export const inputsOf = (linears: readonly LinearShape[]): number =>
  linears.reduce((sum, { inFeatures }) => sum + inFeatures, 0);
export const outputsOf = (linears: readonly LinearShape[]): number =>
  linears.reduce((sum, { outFeatures }) => sum + outFeatures, 0);
