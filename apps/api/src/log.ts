import type { LoggerService } from '@nestjs/common';
import { pino, type Logger } from 'pino';
import { loggedError } from './logged-error.js';

/** Paths that may contain a secret. Bodies and the parameters of SQL statements are never logged. */
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

/** An empty variable counts as unset. */
const file = process.env['GRAFT_LOG_FILE'] || undefined;

/** Logger of the process. It writes to stderr or a file, because stdout is for output that a caller reads. */
export const log: Logger = pino(
  {
    level: process.env['GRAFT_LOG_LEVEL'] ?? 'info',
    serializers: { err: (error: unknown) => loggedError(error) },
    redact: { paths: REDACTED, censor: '[redacted]' },
    base: { room: 'api' },
  },
  pino.destination(file ? { dest: file, mkdir: true, sync: true } : { fd: 2, sync: true }),
);

/** Sends Nest's messages to the same logger, at a lower level. */
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
