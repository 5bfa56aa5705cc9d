// libs/examples is not an npm workspace, because only the CLI uses it. This file alone imports it by its path.
export * from '../../../../libs/examples/dist/index.js';
