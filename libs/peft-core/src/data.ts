/**
 * Reads a base model's configuration and inspects data with its tokenizer. Loads no libtorch, so that it can run in a
 * separate process.
 */
export { reportData } from './datasets/report.js';
export type { DataFile, DataReports, ReportOptions } from './datasets/report.js';
export { heldOut } from './datasets/held-out.js';
export type { Split } from './datasets/held-out.js';
export { samplePromptTokens } from './data/text/prompt.js';
export { readBaseProcessor } from './io/base/base-processor.js';
export type { BaseProcessor, NamedFile } from './io/base/base-processor.js';
export { taskFor } from './tasks/registry.js';
export { dataUrlProblem, mediaBytes } from './data/data-url.js';
export { decodeImages, readSizes, IMAGE_FORMATS } from './data/image/image-files.js';
