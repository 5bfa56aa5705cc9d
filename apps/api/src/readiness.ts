import { Injectable } from '@nestjs/common';
import { DomainError } from '@graft/contracts';

/** Whether load balancers should send requests to this process. */
@Injectable()
export class Readiness {
  state: 'starting' | 'ok' | 'stopping' = 'starting';
}

const RETRY_AFTER_SECONDS = 1;

export const stopping = (): DomainError =>
  new DomainError(
    'unavailable',
    'this API process is stopping; try again',
    null,
    RETRY_AFTER_SECONDS,
  );
