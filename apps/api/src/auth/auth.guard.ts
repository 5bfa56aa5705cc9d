import { Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { DomainError, type Scope } from '@graft/contracts';
import type { Response } from 'express';
import { ApiKeysService } from './keys/api-keys.service.js';
import { PUBLIC, SCOPE, type AuthenticatedRequest, type Principal } from './principal.js';
import { RateLimits } from '../limits/rate-limits.js';
import { bearer } from './keys/secret-format.js';

/** Requires an API key on every route that is not marked as public. It runs before any part of the body is read. */
@Injectable()
export class AuthGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    private readonly keys: ApiKeysService,
    private readonly limits: RateLimits,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const handler = context.getHandler();
    if (this.reflector.get<boolean>(PUBLIC, handler)) return true;
    const request = context.switchToHttp().getRequest<AuthenticatedRequest>();
    const response = context.switchToHttp().getResponse<Response>();
    const principal =
      request.principal ??
      (await this.keys.authenticate(bearer(request.headers.authorization), {
        address: request.ip ?? null,
        requestId: String(response.getHeader('x-request-id')),
      }));
    await this.limit(principal, response);
    const anyOf = this.reflector.get<Scope[] | undefined>(SCOPE, handler) ?? [];
    const { scopes } = principal;
    if (anyOf.length > 0 && ![...anyOf, 'admin'].some((scope) => scopes.includes(scope))) {
      throw new DomainError(
        'insufficient_scope',
        `this API key does not have the scope ${anyOf.join(' or ')}; use a key that has it`,
      );
    }
    request.principal = principal;
    return true;
  }

  /**
   * Counts the request against the limits of its key and its project, and reports the remaining requests in OpenAI's
   * headers.
   */
  private async limit({ keyId, projectId }: Principal, response: Response): Promise<void> {
    const allowance = await this.limits.take(keyId, projectId);
    if (!allowance) return;
    const { of, limit, remaining, resetMs, waitMs } = allowance;
    response.setHeader('x-ratelimit-limit-requests', limit);
    response.setHeader('x-ratelimit-remaining-requests', remaining);
    response.setHeader('x-ratelimit-reset-requests', `${resetMs}ms`);
    if (waitMs === 0) return;
    throw new DomainError(
      'rate_limit_exceeded',
      `rate limit of ${limit} requests a minute exceeded by this ${of}; try again in ${waitMs} ms`,
      null,
      Math.ceil(waitMs / 1000),
    );
  }
}
