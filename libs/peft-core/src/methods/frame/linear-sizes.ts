// Element counts of linear layers, from which methods compute the memory that they need.
import type { LinearShape } from '../../nn/outline/outline.js';

/** Returns the number of weight elements of linear layers. */
export const numbersIn = (linears: readonly LinearShape[]): number =>
  linears.reduce((sum, { inFeatures, outFeatures }) => sum + inFeatures * outFeatures, 0);

/**
 * Returns the number of elements that singular value decompositions of these weights need, run one after another:
 * copies, factors, and the memory that LAPACK keeps after its first call. On a Xeon with AMX that memory is up to 10 MB
 * more than the 20 MB that are enough elsewhere.
 */
export const decompositionNumbers = (linears: readonly LinearShape[]): number =>
  5 * Math.max(...linears.map((linear) => numbersIn([linear]))) + 9_000_000;

/** Returns the total input features of linear layers, and their total output features: elements per row. */
export const inputsOf = (linears: readonly LinearShape[]): number =>
  linears.reduce((sum, { inFeatures }) => sum + inFeatures, 0);
export const outputsOf = (linears: readonly LinearShape[]): number =>
  linears.reduce((sum, { outFeatures }) => sum + outFeatures, 0);
