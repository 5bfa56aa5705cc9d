// Prepares a run before anything is allocated for it: resolves its spec, reads its data and estimates its memory in
// bytes.
import type { Spec } from '@graft/contracts';
import { samplePromptTokens } from '../data/text/prompt.js';
import type { Base } from '../io/base/base-folder.js';
import { readRunData } from './read-run-data.js';
import { resolveRun, type ResolvedRun, type RunOptions } from './resolve-run.js';
import { answerSizes, runBytes, sizesOf, type RunBytes } from './run-bytes.js';
import type { RunData } from './run-data.js';

/** Data and memory requirements of a run whose parameters are not allocated yet. */
export interface PreparedRun extends ResolvedRun {
  readonly data: RunData;
  readonly bytes: RunBytes;
}

/** @throws DomainError for data and options that the user can correct */
export function prepareRun(base: Base, asked: Spec, options: RunOptions): PreparedRun {
  const resolved = resolveRun(base, asked, options);
  const data = readRunData(base, resolved, options);
  const { spec, footprint } = resolved;
  const { sample_prompts: prompts } = spec;
  const tokens = prompts ? samplePromptTokens(prompts, base.tokenizer, footprint.maxTokens) : [];
  const answers = answerSizes(spec, base.config, tokens, footprint.virtualTokens);
  const sizes = { ...sizesOf(spec, data.examples, data.validation), answers };
  const bytes = runBytes(spec, base.config, sizes, Boolean(options.initAdapterDir));
  return { ...resolved, data, bytes };
}
