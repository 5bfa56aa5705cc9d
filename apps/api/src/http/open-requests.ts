import { Injectable } from '@nestjs/common';
import type { NextFunction, Request, Response } from 'express';
import { Readiness, stopping } from '../readiness.js';

/** Paths that load balancers also request from a process that is stopping. */
const HEALTH = ['/healthz', '/readyz'];

/** Requests in progress. */
@Injectable()
export class OpenRequests {
  private readonly open = new Set<Response>();
  private refuses = false;

  constructor(private readonly readiness: Readiness) {}

  get count(): number {
    return this.open.size;
  }

  /** Rejects new requests from now on. */
  rejectNew(): void {
    this.refuses = true;
  }

  readonly follow = (request: Request, response: Response, next: NextFunction): void => {
    // The client's next request may reach another process.
    if (this.readiness.state === 'stopping') response.setHeader('connection', 'close');
    if (HEALTH.includes(request.path)) return next();
    if (this.refuses) return next(stopping());
    this.open.add(response);
    response.on('close', () => this.open.delete(response));
    next();
  };
}
