import { DomainError } from '@graft/contracts';
import type { Request, RequestHandler } from 'express';
import { respondWithError } from './error.filter.js';

/** What a body must bring in each period, or end. */
const LEAST_BYTES = 16 * 1024;

/**
 * A body may take as long as it takes, but must not stand still: who sends next to nothing for a period is told so
 * and cut off. While the API itself does not read, nobody is blamed.
 */
export function refuseSlowBodies(periodMs: number): RequestHandler {
  return (request, response, next) => {
    if (!hasBody(request)) return next();
    let seen = request.socket.bytesRead;
    let reading = false;
    const timer = setInterval(() => {
      const { bytesRead } = request.socket;
      const came = bytesRead - seen;
      const stands = reading && request.readableFlowing === true && came < LEAST_BYTES;
      seen = bytesRead;
      reading = request.readableFlowing === true;
      if (!stands || request.complete) return;
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
