export { runRows } from './batch.js';
export type { PackedBatch, RunRows, Sequence } from './batch.js';
export type { Adapter, AttachContext, Method, NamedTensors } from './methods/method.js';
export type {
  BaseDtype,
  BuildOptions,
  HfConfig,
  Model,
  ModelPlugin,
  Tensors,
} from './models/model.js';
export type { ForwardContext, RowContext, RunKey } from './nn/context.js';
export { KvCache } from './nn/kv-cache.js';
export { EmbeddingSite, LinearSite, NormSite, Sites } from './nn/site.js';
export type { Override, Role, RowAdapter, VirtualInputs, VirtualPrefix } from './nn/site.js';
export { checkPeft, resolveSpec } from './catalog.js';
export type { PeftConfig } from './methods/config.js';
export { methodFor, methods } from './methods/registry.js';
export { buildModel, forConfig, models } from './models/registry.js';
export { DenseWeight } from './nn/weight.js';
export type { Weight } from './nn/weight.js';
export { attachMethod } from './build.js';
export { packBatch } from './data/pack.js';
export { encodeRecord, loadExamples } from './data/examples.js';
export type { Example, LoadOptions } from './data/examples.js';
export { order } from './data/order.js';
export { checkRecord } from './data/records.js';
export { Tokenizer } from './data/tokenizer.js';
export { BARE_BASE, Generation, stepTogether } from './generate/generation.js';
export type { GenerationRequest, GenerationStep } from './generate/generation.js';
export { loadBase } from './io/base-folder.js';
export type { Base } from './io/base-folder.js';
export { listNumbered, readCommitted, removeFolder, sweepTemporary } from './io/commit-folder.js';
export type { FileFact } from './io/commit-folder.js';
export { readGguf } from './io/gguf.js';
export { writeModel } from './io/model-folder.js';
export { readAdapter, writeAdapter } from './io/peft-adapter.js';
export type { StoredAdapter } from './io/peft-adapter.js';
export { writeSafetensors } from './io/safetensors.js';
export { AdamW, decaysByDefault } from './train/adamw.js';
export { trainerBuild } from './train/build-id.js';
export type { FactOfRun, RunFact, StopReason } from './train/facts.js';
export { failureOf } from './train/failure.js';
export { trainStep } from './train/loop.js';
export type { Report } from './train/loop.js';
export { packedLoss } from './train/loss.js';
export type { LossSum } from './train/loss.js';
export { microBatches } from './train/micro-batches.js';
export type { Limits } from './train/micro-batches.js';
export { LIMITS, Pack } from './train/pack.js';
export { Run } from './train/run.js';
export type { RunOptions } from './train/run.js';
export { rateAt, warmupSteps } from './train/schedule.js';
export { kernelsInfo, memory, setThreads } from '@graft/kernels';
