export { Agent, type AgentOptions } from './agent/agent.js';
export { readSettings, USAGE, type Settings } from './agent/settings.js';
export { runWorker } from './agent/worker.js';
export { TrainerProcess, type TrainerOptions } from './trainers/trainer-process.js';
export type { TrainerExit } from './trainers/exit-class.js';
