// Process of the API that reads bases and data with their tokenizers and chat templates. Templates are
// untrusted programs: one that hangs or uses too much memory is killed here without effect on the API (ADR
// 0009).
import { DomainError } from '@graft/contracts';
import {
  heldOut,
  readBaseProcessor,
  reportData,
  samplePromptTokens,
  taskFor,
  type BaseProcessor,
  type NamedFile,
} from '@graft/peft-core/data';
import { Worker } from 'node:worker_threads';
import type { ReaderAnswer, ReaderRequest } from './reader-protocol.js';

const MOST_BYTES = 1.5e9;

class TooMuchMemory extends Error {}

let current: { readonly key: string; readonly base: BaseProcessor } | null = null;

/** Keeps the most recent base loaded. */
function open(files: readonly NamedFile[]): BaseProcessor {
  const key = files.map(({ name, path }) => `${name}=${path}`).join('\n');
  if (current?.key === key) return current.base;
  current?.base.processor.dispose();
  current = null;
  current = { key, base: readBaseProcessor(files) };
  return current.base;
}

function answer(request: ReaderRequest): unknown {
  if (request.op === 'held_out') {
    const { training, tasks, split } = request;
    return [...heldOut(training.path, { task: taskFor(request.task), tasks }, split)];
  }
  const base = open(request.base);
  if (request.op === 'config') return base.config;
  if (request.op === 'prompts')
    return samplePromptTokens(request.prompts, base.processor.tokenizer, request.maxTokens);
  const { training, validation, taskOptions, maxSeqLen, tasks, split, invocation } = request;
  const task = taskFor(request.task);
  const onProgress = (): void => {
    if (process.memoryUsage.rss() > MOST_BYTES) throw new TooMuchMemory();
  };
  return reportData(training, validation, base.processor, {
    task,
    taskOptions,
    maxSeqLen,
    tasks,
    split,
    invocation,
    onProgress,
  });
}

function attempt(request: ReaderRequest): ReaderAnswer {
  try {
    return { value: answer(request) };
  } catch (error) {
    if (error instanceof TooMuchMemory) return { failed: 'reading needs too much memory' };
    if (!(error instanceof DomainError))
      return { crashed: String((error as Error).stack ?? error) };
    const { code, message, param } = error;
    return { refused: { code, message, param } };
  }
}

// If the API is killed, nothing else ends a template that hangs.
const orphaned = `const { ppid } = process; setInterval(() => {
  try { if (process.ppid !== ppid) process.kill(process.pid, 'SIGKILL'); } catch {} // the sandbox ends it itself
}, 1000);`;
new Worker(orphaned, { eval: true, execArgv: [] }).unref();

process.on('message', (request: ReaderRequest) => process.send?.(attempt(request)));
process.on('disconnect', () => process.exit(0));
