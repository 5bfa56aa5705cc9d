import type { LoggerService } from '@nestjs/common';
import { pino, type Logger } from 'pino';

/** Paths that may carry a secret; bodies are never logged at all. */
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

/** The process's logger. To stderr, so that stdout stays for what a caller reads. */
export const log: Logger = pino(
  {
    level: process.env['GRAFT_LOG_LEVEL'] ?? 'info',
    redact: { paths: REDACTED, censor: '[redacted]' },
    base: { room: 'api' },
  },
  pino.destination({ fd: 2, sync: true }),
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
