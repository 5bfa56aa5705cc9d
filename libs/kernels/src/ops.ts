/** The operators in use, one typed line each, by area. `call` reaches the others. */
export * from './ops/adamw.js';
export * from './ops/creation.js';
export * from './ops/in-place.js';
export * from './ops/linalg.js';
export * from './ops/maths.js';
export * from './ops/fused.js';
export * from './ops/nn.js';
export * from './ops/shape.js';
