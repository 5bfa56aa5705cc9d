import type { ModuleMetadata } from '@nestjs/common';
import { FilesController } from './files.controller.js';
import { FilesService } from './files.service.js';
import { UploadsController } from './uploads.controller.js';
import { UploadsService } from './uploads.service.js';

export const FILES: ModuleMetadata = {
  controllers: [FilesController, UploadsController],
  providers: [FilesService, UploadsService],
};
