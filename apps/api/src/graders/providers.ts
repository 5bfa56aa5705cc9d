import type { ModuleMetadata } from '@nestjs/common';
import { GradersController } from './graders.controller.js';
import { GradersService } from './graders.service.js';
import { PythonGraders } from './python-graders.js';

export const GRADERS: ModuleMetadata = {
  controllers: [GradersController],
  providers: [GradersService, PythonGraders],
};
