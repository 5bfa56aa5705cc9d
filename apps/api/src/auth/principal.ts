import {
  createParamDecorator,
  SetMetadata,
  type CustomDecorator,
  type ExecutionContext,
} from '@nestjs/common';
import type { Scope } from '@graft/contracts';

/** Who asks. The project comes from the key alone, never from the request. */
export interface Principal {
  readonly keyId: string;
  readonly projectId: string;
  readonly scopes: readonly string[];
}

export const PUBLIC = 'graft:public';
export const SCOPE = 'graft:scope';

/** A route that answers without a key. */
export const Public = (): CustomDecorator => SetMetadata(PUBLIC, true);
/** The scope that a key needs for a route, or any one of several; `admin` has them all. */
export const Needs = (...anyOf: Scope[]): CustomDecorator => SetMetadata(SCOPE, anyOf);

export const Caller = createParamDecorator(
  (_: unknown, context: ExecutionContext): Principal =>
    context.switchToHttp().getRequest<{ principal: Principal }>().principal,
);
