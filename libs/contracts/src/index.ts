export * from './catalog.js';
export * from './create-job.js';
export * from './errors.js';
export * from './graft-api.js';
export * from './openai.js';
export * from './problem.js';
export * from './spec.js';
export * from './worker-command.js';
