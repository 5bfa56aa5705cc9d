export { Agent, type AgentOptions } from './agent/agent.js';
export { readSettings, USAGE, type Settings } from './agent/settings.js';
export { runWorker } from './agent/worker.js';
export { TrainerProcess, type TrainerOptions } from './trainer-pool/trainer-process.js';
export type { TrainerExit } from './trainer-pool/exit-class.js';
