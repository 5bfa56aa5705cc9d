import type { CreateOperation, GgufQuantization, JobObject } from '@graft/contracts';
import { EXPORT_FORMATS, GGUF_QUANTIZATIONS } from '@graft/contracts/adapter-operation-names';
import { Option, type Command } from 'commander';
import type { Api } from '../client/api.js';
import { saveModel, type Target } from '../client/archive.js';
import { CliError, EXIT } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';
import { hubTarget, pushToHub } from '../client/hub-push.js';
import { noteWarnings } from '../output/note-warnings.js';
import type { Output } from '../output/terminal.js';
import { succeeded } from '../output/watch-job.js';

/** Beside what an export makes: the adapter as it is, and merged into its base. */
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
    .description('a model as files for PEFT, transformers, llama.cpp, Ollama or vLLM')
    .argument('<model>', 'a fine-tuned model or a checkpoint; for gguf a base, too')
    .addOption(
      new Option(
        '-f, --format <format>',
        'peft: the adapter; merged: weights for transformers; gguf: one file for llama.cpp and Ollama; gguf_adapter: a LoRA beside a GGUF base; vllm: a LoRA folder',
      )
        .choices(FORMATS)
        .default('peft'),
    )
    .addOption(
      new Option('-q, --quantization <name>', 'of a gguf; left out, F16').choices(
        GGUF_QUANTIZATIONS,
      ),
    )
    .option('-o, --out <path>', 'default: named after the model')
    .option('--zip', 'keep the archive, do not unpack it')
    .option('--force', 'overwrite existing files')
    .option('--suffix <name>', "suffix of the new model's name")
    .option('--pool <name>', 'worker pool that does it')
    .option(
      '--push-to <owner/name>',
      'push it to this repository of the Hugging Face Hub (HF_TOKEN)',
    )
    .option('--private', 'where the repository is made, make it private')
    .action(async (model: string, options: Options, command: Command) => {
      const { out, api } = callOf(command);
      refuseWhatHasNoPart(options);
      // Before the job, which may take long.
      const hub = options.pushTo === undefined ? null : hubTarget(options.pushTo, options);
      const made = await exported(api(), model, options, out);
      const path = await saveModel(api(), made, options);
      const url = hub && (await pushToHub(path, hub));
      if (out.json) return out.value({ model: made, path, ...(url !== null && { url }) });
      out.line(path);
      if (url !== null) out.line(url);
    });
}

function refuseWhatHasNoPart({ format, quantization, suffix, pool, ...rest }: Options): void {
  const refuse = (name: string, where: string): never => {
    throw new CliError(`${name} has no part ${where}; leave it out`, EXIT.usage);
  };
  if (quantization !== undefined && format !== 'gguf')
    refuse('--quantization', `in format ${format}`);
  // The adapter is there already: no job makes it.
  if (format === 'peft' && suffix !== undefined) refuse('--suffix', 'in format peft');
  if (format === 'peft' && pool !== undefined) refuse('--pool', 'in format peft');
  if (rest.pushTo === undefined && rest.private) refuse('--private', 'without --push-to');
  // A folder is pushed whole, be it with what else lay in it.
  if (rest.pushTo !== undefined && rest.zip) refuse('--zip', 'in --push-to, which pushes a folder');
  if (rest.pushTo !== undefined && rest.force)
    refuse('--force', 'in --push-to, which pushes all that is in the folder');
}

/** The model whose files these are: the given one as it is, or what a job makes of it. */
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
  if (made === null) throw new CliError(`${id} made no model`);
  return made;
}
