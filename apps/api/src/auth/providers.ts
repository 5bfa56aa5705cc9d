import type { ModuleMetadata } from '@nestjs/common';
import { ApiKeysService } from './keys/api-keys.service.js';
import { Audit } from './audit.js';
import { JoinTokensController } from './keys/join-tokens.controller.js';
import { JoinTokensService } from './keys/join-tokens.service.js';
import { KeysController } from './keys/keys.controller.js';
import { Pools } from './pools.js';
import { RateLimits } from '../limits/rate-limits.js';

export const AUTH: ModuleMetadata = {
  controllers: [KeysController, JoinTokensController],
  providers: [Audit, Pools, ApiKeysService, RateLimits, JoinTokensService],
};
