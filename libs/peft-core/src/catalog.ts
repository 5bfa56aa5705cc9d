/**
 * What this build can train, and the checks of a job before native code runs. Derived from the registries. Importing it
 * loads neither libtorch nor the tokenizer.
 */
export { heldOut, heldOutCount, splitOf } from './datasets/held-out.js';
export type { Split } from './datasets/held-out.js';
export { LineRanges } from './data/line-ranges.js';
export { readJsonObject, readLine } from './data/json-line.js';
export type { JsonObject } from './data/json-line.js';
export type { Columns, Shape } from './datasets/shapes.js';
export { schemaGrammar } from './generate/constrained/schema-grammar.js';
export { SchemaBudget } from './generate/constrained/schema-limits.js';
export { argumentsGrammar } from './generate/constrained/answer-form.js';
export { adapterConfig } from './io/adapter/adapter-config.js';
export { inspectAdapter } from './io/adapter/inspect-adapter.js';
export type { AdapterInspection } from './io/adapter/inspect-adapter.js';
export { inspectModelFolder } from './io/base/inspect.js';
export type { ModelInspection } from './io/base/inspect.js';
export { taskFor } from './tasks/registry.js';
export { labelVariety } from './tasks/labels/label-variety.js';
export { TaskFit } from './datasets/task-fit.js';
export {
  defaultOptions,
  inputRecords,
  inputsOfTask,
  tasksOfBase,
  tasksUsedTo,
  usesOfBase,
  usesOfTask,
  vectorSize,
} from './tasks/heads/model-use.js';
export type { PeftConfig } from './methods/frame/config.js';
export type { HfConfig } from './nn/hf-files.js';
export { checkTrained, trainedBy } from './train/optimizer/optimizer.js';
export { continued, isMarkedInFile, namedAdapters } from './methods/frame/config.js';
export { checkOperation, loraRank, operationsOf } from './adapters/supported.js';
export type { Operand } from './adapters/supported.js';
export {
  cutAt,
  footprintOf,
  heldAs,
  residentBytes,
  windowOf,
} from './methods/frame/base-footprint.js';
export {
  checkWrites,
  continuedOptions,
  headOf,
  inOrderOf,
  withBaseVocabulary,
  trainedOptions,
} from './tasks/heads/head-request.js';
export { charactersIn } from './data/audio/derived-vocabulary.js';
export { totalSteps } from './train/cursor.js';
export { hasOneLabel, holdsOutByDefault, withoutHeldOut } from './train/validation-defaults.js';
export {
  answerSizes,
  reservedForBase,
  runBytes,
  sizesOfReports,
  tooLarge,
} from './train/run-bytes.js';
export type { AnswerSizes, RunBytes, RunSizes } from './train/run-bytes.js';
export type { BaseFootprint } from './methods/frame/base-footprint.js';

export { invocationOf, promptTasks } from './methods/frame/config.js';
export { DEFAULT_PEFT } from './methods/registry.js';

/** Model types that can be exported as GGUF. */
export { ggufModelTypes } from './models/registry.js';
export { catalog, metricsOf, peftFields, triedMethods } from './catalog/describe-plugins.js';
export { checkPeft } from './catalog/check-peft.js';
export { fineTuningMethod, resolveSpec, usualTask } from './catalog/resolve-spec.js';
export type { JobFacts } from './catalog/resolve-spec.js';
export {
  checkColumns,
  formatNouns,
  meantAsRecord,
  recordProblem,
  shapeOf,
} from './datasets/record-formats.js';
