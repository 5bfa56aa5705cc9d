import {
  createParamDecorator,
  SetMetadata,
  type CustomDecorator,
  type ExecutionContext,
} from '@nestjs/common';
import type { Role, Scope } from '@graft/contracts';
import type { Request } from 'express';

/** The authenticated caller. Its project comes from the key only, never from the request. */
export interface Principal {
  readonly keyId: string;
  readonly projectId: string;
  readonly scopes: readonly string[];
  /** Member who owns the key; `null` for keys of the project or the installation. */
  readonly memberId: string | null;
  readonly role: Role | null;
  /** IP address of the request; `null` outside of a request. */
  readonly address: string | null;
  readonly requestId: string | null;
  /** Time at which the key was checked, by the database's clock. */
  readonly at: Date;
  /** Whether the request is a line of a batch, for which half of a worker's capacity is used at most. */
  readonly isBatch?: boolean;
}

/**
 * Returns a principal with the rights of the project, for work that continues after the key that started it was
 * deleted.
 */
export const projectPrincipal = ({
  project_id: projectId,
  key_id: keyId,
}: {
  readonly project_id: string;
  readonly key_id: string | null;
}): Principal => ({
  keyId: keyId ?? '',
  projectId,
  scopes: [],
  memberId: null,
  role: null,
  address: null,
  requestId: null,
  at: new Date(),
});

/** A request, with its caller if the key has been checked. */
export type AuthenticatedRequest = Request & { principal?: Principal };

/** Whether the caller is an administrator of the installation, who may see all projects. */
export const isAdmin = ({ scopes }: Pick<Principal, 'scopes'>): boolean => scopes.includes('admin');

export const PUBLIC = 'graft:public';
export const SCOPE = 'graft:scope';

/** Marks a route that needs no key. */
export const Public = (): CustomDecorator => SetMetadata(PUBLIC, true);
/** Requires at least one of the scopes for a route. The scope `admin` includes all others. */
export const RequireScope = (...anyOf: Scope[]): CustomDecorator => SetMetadata(SCOPE, anyOf);

export const Caller = createParamDecorator(
  (_: unknown, context: ExecutionContext): Principal =>
    context.switchToHttp().getRequest<{ principal: Principal }>().principal,
);
