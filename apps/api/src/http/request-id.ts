import type { NextFunction, Request, Response } from 'express';
import { newId } from '../ids.js';
import { log } from '../log.js';

/**
 * Assigns an id to each request and logs one line when it ends, without bodies, query values or headers.
 */
export function requestId(request: Request, response: Response, next: NextFunction): void {
  const started = process.hrtime.bigint();
  const id = newId('req_');
  response.setHeader('x-request-id', id);
  response.on('close', () => {
    const ms = Number(process.hrtime.bigint() - started) / 1e6;
    const retry = request.headers['x-stainless-retry-count'];
    log.info(
      {
        requestId: id,
        method: request.method,
        path: request.path,
        status: response.statusCode,
        ms: Math.round(ms),
        retry,
      },
      'request',
    );
  });
  next();
}
