import type { CreateOperation, JobObject } from '@graft/contracts';
import { COMBINATION_TYPES } from '@graft/contracts/adapter-operation-names';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { findModel, findModels, MODEL_HELP } from '../find/find-model.js';
import { callOf } from '../command-line/command-line.js';
import { noteWarnings } from '../output/note-warnings.js';
import { decimal, positiveInteger } from '../command-line/parse-number.js';
import { watchToEnd } from '../output/watch-job.js';
import { GRAFT } from '../called.js';

interface OfJob {
  readonly suffix?: string;
  readonly pool?: string;
  readonly watch?: boolean;
}

interface CombineOptions extends OfJob {
  readonly weights?: readonly number[];
  readonly type: (typeof COMBINATION_TYPES)[number];
  readonly rank?: number;
  readonly density?: number;
  readonly sign?: 'total' | 'frequency';
  readonly seed?: number;
}

export function addOperations(program: Command): void {
  ofJob(program.command('merge'))
    .description('Merge an adapter into its base model')
    .argument('<model>', MODEL_HELP)
    .action(async (name: string, options: OfJob, command: Command) => {
      const model = await findModel(callOf(command).api(), name);
      return create({ type: 'merge', model, ...jobFields(options) }, options, command);
    });
  ofJob(program.command('convert'))
    .description('Convert an adapter to LoRA')
    .argument('<model>', MODEL_HELP)
    .option('-r, --rank <number>', 'rank of the LoRA', positiveInteger)
    .option(
      '--energy <fraction>',
      "instead of a rank: keep this fraction of each update's squared singular values, with the smallest rank that does",
      decimal,
    )
    .action(
      async (
        name: string,
        options: OfJob & { readonly rank?: number; readonly energy?: number },
        command: Command,
      ) => {
        const { rank, energy } = options;
        const model = await findModel(callOf(command).api(), name);
        const how = { ...(rank && { rank }), ...(energy !== undefined && { energy }) };
        return create({ type: 'convert', model, ...how, ...jobFields(options) }, options, command);
      },
    );
  addCombine(program);
}

function addCombine(program: Command): void {
  ofJob(program.command('combine'))
    .description('Merge several LoRAs into one')
    .argument('<models...>', `each a ${MODEL_HELP}`)
    .option(
      '-w, --weights <numbers>',
      'weights of the models, separated by commas (default: equal)',
      numbers,
    )
    .addOption(
      new Option('-t, --type <type>', 'combination method (see docs/guides/adapters.md)')
        .choices(COMBINATION_TYPES)
        .default('svd'),
    )
    .option(
      '-r, --rank <number>',
      'rank of svd results (default: largest rank of the models)',
      positiveInteger,
    )
    .option('--density <fraction>', 'fraction of values to keep, for methods that prune', decimal)
    .addOption(
      new Option('--sign <method>', 'majority sign method of ties').choices(['total', 'frequency']),
    )
    .option('--seed <number>', 'seed of the random pruning of dare', decimal)
    .action(async (names: string[], options: CombineOptions, command: Command) => {
      const { weights = names.map(() => 1 / names.length), rank, density, sign, seed } = options;
      const body: CreateOperation = {
        type: 'combine',
        adapters: await findModels(callOf(command).api(), names),
        weights: [...weights],
        combination_type: options.type,
        ...(rank && { svd_rank: rank }),
        ...(density !== undefined && { density }),
        ...(sign && { majority_sign_method: sign }),
        ...(seed !== undefined && { seed }),
        ...jobFields(options),
      };
      return create(body, options, command);
    });
}

const ofJob = (command: Command): Command =>
  command
    .option('--suffix <name>', "suffix of the new model's name")
    .option('--pool <name>', 'worker pool that runs it')
    .option('--watch', 'show progress until it ends');

const jobFields = ({ suffix, pool }: OfJob): { suffix?: string; pool?: string } => ({
  ...(suffix === undefined ? {} : { suffix }),
  ...(pool === undefined ? {} : { pool }),
});

async function create(body: CreateOperation, { watch }: OfJob, command: Command): Promise<void> {
  const { out, api } = callOf(command);
  const job = await api().post<JobObject>('/adapters/operations', body);
  noteWarnings(out, job.graft.warnings);
  if (watch === true) return watchToEnd(api(), job.id, out);
  if (out.json) return out.value(job);
  out.line(`${job.id} ${job.status}: ${job.graft.phase.message}`);
  out.note(`Follow it: ${GRAFT} watch ${job.id}`);
}

function numbers(text: string): number[] {
  const list = text.split(',').map(Number);
  if (list.some((value) => !Number.isFinite(value)))
    throw new InvalidArgumentError('Expected numbers separated by commas, such as 0.7,0.3.');
  return list;
}
