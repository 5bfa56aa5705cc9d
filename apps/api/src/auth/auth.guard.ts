import { Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { DomainError, type Scope } from '@graft/contracts';
import type { Request } from 'express';
import { ApiKeysService } from './api-keys.service.js';
import { PUBLIC, SCOPE, type Principal } from './principal.js';
import { bearer } from './secret-format.js';

/** Every route needs a key unless it says otherwise. Runs before any body part is read. */
@Injectable()
export class AuthGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    private readonly keys: ApiKeysService,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const handler = context.getHandler();
    if (this.reflector.get<boolean>(PUBLIC, handler)) return true;
    const request = context.switchToHttp().getRequest<Request & { principal?: Principal }>();
    const principal = await this.keys.authenticate(bearer(request.headers.authorization));
    const scope = this.reflector.get<Scope | undefined>(SCOPE, handler);
    if (scope && !principal.scopes.includes(scope) && !principal.scopes.includes('admin')) {
      throw new DomainError(
        'insufficient_scope',
        `this key lacks the scope ${scope}; use one that has it`,
      );
    }
    request.principal = principal;
    return true;
  }
}
