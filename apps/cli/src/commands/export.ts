import type { CreateOperation, GgufQuantization, JobObject } from '@graft/contracts';
import { EXPORT_FORMATS, GGUF_QUANTIZATIONS } from '@graft/contracts/adapter-operation-names';
import { Option, type Command } from 'commander';
import type { Api } from '../client/api.js';
import { saveModel, type Target } from '../client/archive.js';
import { CliError, EXIT } from '../cli-error.js';
import { findModel } from '../find/find-model.js';
import { callOf } from '../command-line/command-line.js';
import { hubTarget, pushToHub } from '../client/hub-push.js';
import { noteWarnings } from '../output/note-warnings.js';
import type { Output } from '../output/terminal.js';
import { succeeded } from '../output/watch-job.js';

/** Formats of exports, plus the unchanged adapter and the merged model. */
const FORMATS = ['peft', 'merged', ...EXPORT_FORMATS] as const;
type Format = (typeof FORMATS)[number];

interface Options extends Target {
  readonly format: Format;
  readonly quantization?: GgufQuantization;
  readonly suffix?: string;
  readonly pool?: string;
  readonly pushTo?: string;
  readonly private?: boolean;
}

export function addExport(program: Command): void {
  program
    .command('export')
    .description('Export a model for PEFT, Transformers, llama.cpp or vLLM')
    .argument(
      '<model>',
      'fine-tuned model, its job, or checkpoint (JOB@STEP, JOB@best); for gguf also a base model',
    )
    .addOption(
      new Option(
        '-f, --format <format>',
        'peft: adapter; merged: weights for Transformers; gguf: one file for llama.cpp and Ollama; gguf_adapter: LoRA for a GGUF base; vllm: LoRA folder',
      )
        .choices(FORMATS)
        .default('peft'),
    )
    .addOption(
      new Option('-q, --quantization <name>', 'quantization of gguf (default: F16)').choices(
        GGUF_QUANTIZATIONS,
      ),
    )
    .option('-o, --out <path>', 'folder or archive to write (default: named after the model)')
    .option('--zip', 'save the archive without unpacking it')
    .option('--force', 'overwrite existing files')
    .option('--suffix <name>', "suffix of the new model's name")
    .option('--pool <name>', 'worker pool that runs the export')
    .option('--push-to <owner/name>', 'push to this repository of the Hugging Face Hub (HF_TOKEN)')
    .option('--private', 'create the repository as private if it is new')
    .action(async (name: string, options: Options, command: Command) => {
      const { out, api } = callOf(command);
      refuseUnusedOptions(options);
      // Check the target before the job, which may take long.
      const hub = options.pushTo === undefined ? null : hubTarget(options.pushTo, options);
      const model = await findModel(api(), name);
      const made = await exported(api(), model, options, out);
      const path = await saveModel(api(), made, options);
      const url = hub && (await pushToHub(path, hub));
      if (out.json) return out.value({ model: made, path, ...(url !== null && { url }) });
      out.line(path);
      if (url !== null) out.line(url);
    });
}

function refuseUnusedOptions({ format, quantization, suffix, pool, ...rest }: Options): void {
  const refuse = (name: string, where: string): never => {
    throw new CliError(`${name} does not apply ${where}; remove it`, EXIT.usage);
  };
  if (quantization !== undefined && format !== 'gguf')
    refuse('--quantization', `to format ${format}`);
  // The adapter exists, so no job runs that could use these options.
  if (format === 'peft' && suffix !== undefined) refuse('--suffix', 'to format peft');
  if (format === 'peft' && pool !== undefined) refuse('--pool', 'to format peft');
  if (rest.pushTo === undefined && rest.private) refuse('--private', 'without --push-to');
  // The whole folder is pushed, so it must not contain other files.
  if (rest.pushTo !== undefined && rest.zip) refuse('--zip', 'to --push-to, which pushes a folder');
  if (rest.pushTo !== undefined && rest.force)
    refuse('--force', 'to --push-to, which pushes every file in the folder');
}

/** Id of the model whose files to download: the given model, or the result of an export job. */
async function exported(api: Api, model: string, options: Options, out: Output): Promise<string> {
  const { format, quantization, suffix, pool } = options;
  if (format === 'peft') return model;
  const job = { ...(suffix !== undefined && { suffix }), ...(pool !== undefined && { pool }) };
  const body: CreateOperation =
    format === 'merged'
      ? { type: 'merge', model, ...job }
      : { type: 'export', format, ...(quantization && { quantization }), model, ...job };
  const { id, graft } = await api.post<JobObject>('/adapters/operations', body);
  noteWarnings(out, graft.warnings);
  const { fine_tuned_model: made } = await succeeded(api, id, out);
  if (made === null) throw new CliError(`${id} succeeded without a model`);
  return made;
}
