// Generated gRPC messages, services and clients. `npm run generate` regenerates them from proto/.
export * from './gen/graft/worker/v1/worker.js';
export {
  AskRequest,
  AskResponse,
  GatewayServiceClient,
  GatewayServiceService,
  SendRequest,
  SendResponse,
  type GatewayServiceServer,
} from './gen/graft/gateway/v1/gateway.js';
export {
  ExternalScalerClient,
  ExternalScalerService,
  type ExternalScalerServer,
  type IsActiveResponse,
  type ScaledObjectRef,
} from './gen/externalscaler/externalscaler.js';

/** Bytes per chunk of a blob transfer. */
export const BLOB_CHUNK_BYTES = 256 * 1024;
