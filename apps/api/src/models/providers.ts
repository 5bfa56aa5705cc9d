import type { ModuleMetadata } from '@nestjs/common';
import { AdapterUpload } from './imports/adapter-upload.js';
import { AdaptersController } from './imports/adapters.controller.js';
import { ArchivesController } from './downloads/archives.controller.js';
import { Archives } from './downloads/archives.service.js';
import { CatalogController } from './catalog.controller.js';
import { HubPushController } from './downloads/hub-push.controller.js';
import { HubPushes } from './downloads/hub-push.service.js';
import { ImportClaims } from './imports/import-claims.js';
import { ModelImport } from './imports/import.js';
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
  providers: [ModelsService, Archives, HubPushes, ImportClaims, ModelImport, AdapterUpload],
};
