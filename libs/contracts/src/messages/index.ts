export * from './failed.js';
export * from './registry.js';
export { runEvent, type RunEventKind } from './run-event.js';
export { MAX_INTEGER } from './fields.js';
export { MAX_LEDGER_ROWS } from './ledger.js';
export { log as logEvent } from './log.js';
export { phase as phaseEvent } from './phase.js';
export { StopReason } from './stopped.js';
