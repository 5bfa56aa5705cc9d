import type { ModuleMetadata } from '@nestjs/common';
import { WorkerKeys } from './worker-keys.js';
import { WorkerList } from './worker-list.js';
import { WorkerOrders } from './worker-orders.js';
import { WorkersController } from './workers.controller.js';
import { Workers } from './workers.js';

export const WORKERS: ModuleMetadata = {
  controllers: [WorkersController],
  providers: [WorkerOrders, WorkerKeys, WorkerList, Workers],
};
