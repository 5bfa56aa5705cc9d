/** Operators in use, one typed line each, by area. `call` reaches the others. */
export * from './ops/adamw.js';
export * from './ops/creation.js';
export * from './ops/fft.js';
export * from './ops/image.js';
export * from './ops/int8.js';
export * from './ops/in-place.js';
export * from './ops/linalg.js';
export * from './ops/linears.js';
export * from './ops/maths.js';
export * from './ops/nn.js';
export * from './ops/shape.js';
// Graft's own kernels (native/ops), each with the composition that other devices and dtypes use
export * from './ops/attention.js';
export { BiasCache, relativeBuckets } from './ops/attention-bias.js';
export type { AttentionBias } from './ops/attention-bias.js';
export type { AttentionSegment } from './ops/attention-pattern.js';
export * from './ops/gate.js';
export * from './ops/ggml.js';
export * from './ops/loss.js';
export * from './ops/low-rank.js';
export * from './ops/nf4.js';
export * from './ops/norm.js';
export * from './ops/rotary.js';
export * from './ops/scale.js';
export * from './ops/single-attention.js';
export { instructionSet, instructionSets, ownKernels } from './ops/instruction-set.js';
export type { InstructionSet } from './ops/instruction-set.js';
