// libs/examples is no npm package: only the CLI uses it, and the bundle takes it in. Its path is written here alone.
export * from '../../../../libs/examples/dist/index.js';
