import { DomainError } from '@graft/contracts';
import type { Request, RequestHandler } from 'express';
import { respondWithError } from './error.filter.js';

/** Minimum number of bytes that a body must send per period, unless it ends. */
const LEAST_BYTES = 16 * 1024;

/**
 * Rejects request bodies that stall. There is no limit on the total time, but a client that sends fewer
 * than 16 KiB in a period gets an error, and its connection is closed. Periods in which the API itself does
 * not read do not count.
 */
export function rejectSlowBodies(periodMs: number): RequestHandler {
  return (request, response, next) => {
    if (!hasBody(request)) return next();
    let seen = request.socket.bytesRead;
    let reading = false;
    const timer = setInterval(() => {
      const { bytesRead } = request.socket;
      const came = bytesRead - seen;
      const isStalled = reading && request.readableFlowing === true && came < LEAST_BYTES;
      seen = bytesRead;
      reading = request.readableFlowing === true;
      if (!isStalled || request.complete) return;
      stop();
      const seconds = Math.round(periodMs / 1000);
      response.setHeader('connection', 'close');
      respondWithError(
        request,
        response,
        new DomainError(
          'request_timeout',
          `the request body stalled: expected at least ${LEAST_BYTES} bytes in ${seconds} s`,
        ),
      );
      response.once('finish', () => request.destroy());
    }, periodMs);
    timer.unref();
    const stop = (): void => clearInterval(timer);
    request.once('end', stop);
    response.once('close', stop);
    next();
  };
}

const hasBody = ({ headers }: Request): boolean =>
  'transfer-encoding' in headers || Number(headers['content-length'] ?? 0) > 0;
