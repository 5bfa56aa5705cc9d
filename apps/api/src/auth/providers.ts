import type { ModuleMetadata } from '@nestjs/common';
import { ApiKeysService } from './api-keys.service.js';
import { Audit } from './audit.js';
import { JoinTokensController } from './join-tokens.controller.js';
import { JoinTokensService } from './join-tokens.service.js';
import { KeysController } from './keys.controller.js';
import { Pools } from './pools.js';
import { RateLimits } from './rate-limits.js';

export const AUTH: ModuleMetadata = {
  controllers: [KeysController, JoinTokensController],
  providers: [Audit, Pools, ApiKeysService, RateLimits, JoinTokensService],
};
