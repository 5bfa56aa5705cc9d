import type { LoggerService } from '@nestjs/common';
import { pino, type Logger } from 'pino';
import { loggedError } from './logged-error.js';

/** Paths that may carry a secret; bodies, and what statements were given of them, are never logged at all. */
const REDACTED = [
  'req.headers.authorization',
  'headers.authorization',
  'authorization',
  '*.api_key',
  '*.secret',
  '*.token',
  'token',
  'secret',
];

/** An empty variable counts as absent. */
const file = process.env['GRAFT_LOG_FILE'] || undefined;

/** The process's logger. To stderr or a file, so that stdout stays for what a caller reads. */
export const log: Logger = pino(
  {
    level: process.env['GRAFT_LOG_LEVEL'] ?? 'info',
    serializers: { err: (error: unknown) => loggedError(error) },
    redact: { paths: REDACTED, censor: '[redacted]' },
    base: { room: 'api' },
  },
  pino.destination(file ? { dest: file, mkdir: true, sync: true } : { fd: 2, sync: true }),
);

/** Nest's own messages through the same logger, quieter. */
export class NestLog implements LoggerService {
  log(message: unknown): void {
    log.debug(String(message));
  }
  warn(message: unknown): void {
    log.warn(String(message));
  }
  error(message: unknown, ...rest: unknown[]): void {
    log.error({ detail: rest.map(String) }, String(message));
  }
}
