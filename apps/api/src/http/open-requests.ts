import { Injectable } from '@nestjs/common';
import type { NextFunction, Request, Response } from 'express';
import { Readiness, stopping } from '../readiness.js';

/** What balancers ask also of a process that stops. */
const HEALTH = ['/healthz', '/readyz'];

/** The requests that are being answered. */
@Injectable()
export class OpenRequests {
  private readonly open = new Set<Response>();
  private refuses = false;

  constructor(private readonly readiness: Readiness) {}

  get count(): number {
    return this.open.size;
  }

  /** New requests are refused from now on. */
  refuse(): void {
    this.refuses = true;
  }

  readonly follow = (request: Request, response: Response, next: NextFunction): void => {
    // The client's next request may go elsewhere.
    if (this.readiness.state === 'stopping') response.setHeader('connection', 'close');
    if (HEALTH.includes(request.path)) return next();
    if (this.refuses) return next(stopping());
    this.open.add(response);
    response.on('close', () => this.open.delete(response));
    next();
  };
}
