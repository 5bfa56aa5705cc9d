import type { ModuleMetadata } from '@nestjs/common';
import { AdapterUpload } from './adapter-upload.js';
import { AdaptersController } from './adapters.controller.js';
import { ArchivesController } from './archives.controller.js';
import { Archives } from './archives.service.js';
import { CatalogController } from './catalog.controller.js';
import { HubPushController } from './hub-push.controller.js';
import { HubPushes } from './hub-push.service.js';
import { ImportClaims } from './import-claims.js';
import { ModelImport } from './import.js';
import { ModelsController } from './models.controller.js';
import { ModelsService } from './models.service.js';

export const MODELS: ModuleMetadata = {
  // Express takes the first match: `models/*id` would also match `models/*id/archive`.
  controllers: [
    ArchivesController,
    HubPushController,
    AdaptersController,
    ModelsController,
    CatalogController,
  ],
  providers: [
    ModelsService,
    Archives,
    HubPushes,
    ImportClaims,
    ModelImport,
    AdapterUpload,
  ],
};
