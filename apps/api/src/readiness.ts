import { Injectable } from '@nestjs/common';

/** Whether this process is one that balancers should send requests to. */
@Injectable()
export class Readiness {
  state: 'starting' | 'ok' | 'stopping' = 'starting';
}
