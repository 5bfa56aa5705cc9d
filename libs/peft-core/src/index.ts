export { combineAdapters } from './adapters/combine.js';
export type { AdapterFile } from './adapters/lora-factors.js';
export { convertToLora } from './adapters/convert.js';
export type { Converted, ConvertedModule } from './adapters/convert.js';
export { mergedWeights } from './adapters/merge.js';
export { operate, operationBytes, operationInWords } from './adapters/operate.js';
export type { OperationOptions, OperationResult } from './adapters/operate.js';
export type { Work } from './adapters/work.js';
export { BARE_BASE, runRows } from './nn/batch.js';
export type {
  Batch,
  DecoderBatch,
  Outputs,
  PackedRows,
  Rows,
  RunRows,
  Sequence,
} from './nn/batch.js';
export type { Adapter, AttachContext, Method, NamedTensors } from './methods/method.js';
export type { HeadKind, Model, ModelPlugin } from './models/model.js';
export type { HfConfig, Tensors } from './nn/hf-files.js';
export type { BaseDtype, Precision } from './nn/precision.js';
export type { HeadRequest } from './nn/outline/head-shapes.js';
export type { BatchContext, ForwardContext, RowContext, DropoutKey } from './nn/context.js';
export { invokedAt } from './nn/sites/invocation.js';
export { KvCache } from './nn/kv-cache.js';
export { Embedding } from './nn/layers/embedding.js';
export { Linear } from './nn/layers/linear.js';
export type { LinearAdapter, Role } from './nn/layers/linear.js';
export { Modules } from './nn/sites/modules.js';
export { Norm } from './nn/layers/norm.js';
export type { ParameterOverride } from './nn/rows.js';
export type { VirtualInputs, VirtualPrefix } from './nn/sites/slots.js';
export { checkPeft } from './catalog/check-peft.js';
export { resolveSpec } from './catalog/resolve-spec.js';
export type { PeftConfig } from './methods/frame/config.js';
export { methodFor, methods } from './methods/registry.js';
export { buildModel, forConfig, models, outlineOf } from './models/registry.js';
export { DenseWeight } from './nn/weight.js';
export type { Weight } from './nn/weight.js';
export { attachingMethod, attachMethod } from './methods/frame/attach-method.js';
export { atOnce } from './interruptible-work.js';
export { parsePeft } from './methods/frame/config.js';
export { characterErrors, wordErrors } from './tasks/text-metrics/error-rate.js';
export { basicText, englishText } from './tasks/text-metrics/text-normalizer.js';
export { packBatch, packFeatures } from './tasks/batches/pack.js';
export type { PackedSequences } from './tasks/batches/pack.js';
export { packPairs } from './tasks/batches/pack-pairs.js';
export { packShared } from './tasks/batches/pack-shared.js';
export { loadExamples } from './datasets/examples.js';
export type { LoadOptions } from './datasets/examples.js';
export { permutation } from './data/permutation.js';
export type { TokenSequence } from './data/text/supervised-text.js';
export { Tokenizer } from './data/text/tokenizer.js';
export { Processor } from './data/processor.js';
export { Generation } from './generate/generation.js';
export { stepTogether } from './generate/step-together.js';
export type { GenerationRequest } from './generate/generation.js';
export { Constraints } from './generate/constrained/constraint.js';
export { calledForm } from './generate/answer-tools.js';
export { answersTo } from './generate/inference.js';
export { Transcript } from './generate/transcript.js';
export type { TranscriptPiece } from './generate/transcript.js';
export type { WindowSegment } from './tasks/speech/writer.js';
export { loadBase } from './io/base/base-folder.js';
export type { Base } from './io/base/base-folder.js';
export { listNumbered, readCommitted, removeFolder, sweepTemporary } from './io/commit-folder.js';
export type { FileFact } from './io/commit-folder.js';
export { readGguf } from './io/gguf/gguf.js';
export { writeModel, writeWeights } from './io/base/model-folder.js';
export { readAdapter, storedCharacters, writeAdapter } from './io/adapter/peft-adapter.js';
export type { StoredAdapter } from './io/adapter/peft-adapter.js';
export { writeSafetensors } from './io/safetensors.js';
export { AdamW, decaysIn } from './train/optimizer/adamw.js';
export { makeOptimizer } from './train/optimizer/optimizer.js';
export type { OptimizerSpec } from './train/optimizer/optimizer.js';
export { trainerBuild } from './train/checkpoint/build-id.js';
export { runEventOf } from './train/facts.js';
export type { FactOfRun, Metrics, RunFact, StopReason } from './train/facts.js';
export { failureOf, isFatal } from './train/failure.js';
export { takeTurn } from './train/loop.js';
export type { Report } from './train/loop.js';
export { microBatches } from './train/micro-batches.js';
export { Member } from './train/member.js';
export type { Limits, MicroBatch } from './train/micro-batches.js';
export { makingAdapter, openingRun, openRun } from './train/open-run.js';
export { prepareRun } from './train/prepare-run.js';
export { prepareStart, startsFromData } from './train/prepare-start.js';
export { RunData } from './train/run-data.js';
export type { PreparedRun } from './train/prepare-run.js';
export type { RunOptions } from './train/resolve-run.js';
export { RunGroup } from './train/run-group.js';
export type { RunGroupOptions } from './train/run-group.js';
export { causalLm } from './tasks/causal-lm.js';
export type { TokenExample } from './tasks/causal-lm.js';
export { headFilesOf, headOf, trainedOptions } from './tasks/heads/head-request.js';
export { headOutputs } from './tasks/heads/head-outputs.js';
export { tokenizerOf } from './tasks/speech/own-vocabulary.js';
export { taskFor } from './tasks/registry.js';
export type { Example, Inference, Share, Sums, Task } from './tasks/task.js';
export { virtualTokens } from './nn/sites/virtual-tokens.js';
export { packedLoss } from './tasks/losses/token-loss.js';
export type { LossSum } from './tasks/losses/token-loss.js';
export { Run } from './train/run.js';
export { reservedForBase, tooLarge } from './train/run-bytes.js';
export type { RunBytes } from './train/run-bytes.js';
export { rateAt, warmupSteps } from './train/optimizer/schedule.js';
export {
  allocatedBytes,
  kernelsInfo,
  measureSpeed,
  memory,
  setDevice,
  setThreads,
  usedMemory,
} from '@graft/kernels';
export type { MeasuredSpeed } from '@graft/kernels';
