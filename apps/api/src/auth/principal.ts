import {
  createParamDecorator,
  SetMetadata,
  type CustomDecorator,
  type ExecutionContext,
} from '@nestjs/common';
import type { Role, Scope } from '@graft/contracts';
import type { Request } from 'express';

/** Who asks. The project comes from the key alone, never from the request. */
export interface Principal {
  readonly keyId: string;
  readonly projectId: string;
  readonly scopes: readonly string[];
  /** Whose key it is; null: the project's own, or the installation's. */
  readonly memberId: string | null;
  readonly role: Role | null;
  /** Where the request came from, and its id; null where there is no request. */
  readonly address: string | null;
  readonly requestId: string | null;
  /** When its key was looked at, by the database's clock. */
  readonly at: Date;
}

/** A request whose key was looked at, if that has been done. */
export type Identified = Request & { principal?: Principal };

/** Whether the caller administers the installation, and so sees all of it. */
export const isAdmin = ({ scopes }: Pick<Principal, 'scopes'>): boolean => scopes.includes('admin');

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
