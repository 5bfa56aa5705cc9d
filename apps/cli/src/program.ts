import { Command, Option } from 'commander';
import { GRAFT } from './called.js';
import { examplesOf, examplesText } from './command-line/examples.js';
import { HELP_TOPICS } from './command-line/help-topics.js';
import { addAdapters } from './commands/adapters.js';
import { addAdmin } from './commands/admin.js';
import { addAdminKey } from './commands/admin-key.js';
import { addAudit } from './commands/audit.js';
import { addBatches } from './commands/batches.js';
import { addBranch } from './commands/branch.js';
import { addChat } from './commands/chat.js';
import { addCheckpoints } from './commands/checkpoints.js';
import { addClassify } from './commands/classify.js';
import { addCompare } from './commands/compare.js';
import { addDownload } from './commands/download.js';
import { addEmbed } from './commands/embed.js';
import { addEvals } from './commands/evals.js';
import { addExport } from './commands/export.js';
import { addFiles } from './commands/files.js';
import { addHelp } from './commands/help.js';
import { addImportOpenai } from './commands/import-openai.js';
import { addIntegrations } from './commands/integrations.js';
import { addJob } from './commands/job.js';
import { addJobs } from './commands/jobs.js';
import { addKeys } from './commands/keys.js';
import { addCompletion } from './commands/completion.js';
import { addConfusion } from './commands/confusion.js';
import { addLedger } from './commands/ledger.js';
import { addLimits } from './commands/limits.js';
import { addLogin } from './commands/login.js';
import { addLogs } from './commands/logs.js';
import { addMcp } from './commands/mcp.js';
import { addMembers } from './commands/members.js';
import { addModels } from './commands/models.js';
import { addOpen } from './commands/open.js';
import { addOperations } from './commands/operations.js';
import { addPools } from './commands/pools.js';
import { addProjects } from './commands/projects.js';
import { addReceipt } from './commands/receipt.js';
import { addRun } from './commands/run.js';
import { addSamples } from './commands/samples.js';
import { addStatus } from './commands/status.js';
import { addSubmit } from './commands/submit.js';
import { addSweeps } from './commands/sweeps.js';
import { addTensorboard } from './commands/tensorboard.js';
import { addTrace } from './commands/trace.js';
import { addTranscribe } from './commands/transcribe.js';
import { addUp } from './commands/up.js';
import { addWebhooks } from './commands/webhooks.js';
import { addWatch } from './commands/watch.js';
import { addWorkers } from './commands/workers.js';
import { strong } from './output/style.js';

/** Commands in the order and under the headings of `graft --help`. */
const GROUPS: readonly (readonly [heading: string, adders: readonly ((to: Command) => void)[]])[] =
  [
    ['Start:', [addUp, addStatus, addOpen, addLogin, addHelp]],
    [
      'Train:',
      [
        addSubmit,
        addJobs,
        addJob,
        addWatch,
        addLogs,
        addBranch,
        addSweeps,
        addFiles,
        addModels,
        addAdapters,
        addImportOpenai,
        addRun,
      ],
    ],
    [
      'Results:',
      [
        addCompare,
        addReceipt,
        addCheckpoints,
        addSamples,
        addLedger,
        addConfusion,
        addTensorboard,
        addTrace,
      ],
    ],
    [
      'Serve and export:',
      [
        addChat,
        addBatches,
        addEmbed,
        addClassify,
        addTranscribe,
        addDownload,
        addExport,
        addOperations,
      ],
    ],
    ['Evaluate:', [addEvals]],
    [
      'Operate:',
      [
        addLimits,
        addProjects,
        addMembers,
        addKeys,
        addPools,
        addWorkers,
        addAudit,
        addAdmin,
        addAdminKey,
      ],
    ],
    ['Settings:', [addIntegrations, addWebhooks, addMcp, addCompletion]],
  ];

const EXAMPLES = [
  'graft up',
  'graft submit --model MODEL --train data.jsonl --watch',
  'graft chat MODEL "Hello"',
];

const MORE_HELP = `${examplesText(EXAMPLES)}

Learn more:
  graft help COMMAND          options and examples of a command
  graft help getting-started  from a file to a model
  graft help TOPIC            ${Object.keys(HELP_TOPICS).slice(1).join(', ')}
  graft completion SHELL      completion of commands, jobs, models and files

From source, run "npx graft" inside the clone. Elsewhere, npx would download an unrelated package.
Exit codes: 0 done, 1 failed or rejected, 2 wrong usage, 3 API unreachable, 130 interrupted.`;

/** Text that `graft` prints without a command. */
export const firstScreen =
  (): string => `${strong('Graft')} queues, trains and serves PEFT adapters.

  ${GRAFT} up             start Graft here: API, dashboard and one worker
  ${GRAFT} submit         train a model; asks for what it needs
  ${GRAFT} jobs           list the jobs that run, wait or have ended
  ${GRAFT} chat MODEL     try a model
  ${GRAFT} export MODEL   take it with you: PEFT, merged, GGUF, vLLM

  ${GRAFT} help getting-started   from a file to a model
  ${GRAFT} --help                 all commands
`;

/** Returns the command line of `graft`: commands, options and help. */
export function program(): Command {
  const graft = new Command('graft')
    .description('Queue, train and serve PEFT adapters')
    .version('0.1.0')
    .option('--url <url>', 'API address (GRAFT_URL)')
    .option('--api-key <key>', 'API key; prefer GRAFT_API_KEY or credentials.json')
    .option('--home <folder>', 'folder with credentials.json and graft.json (GRAFT_HOME)')
    .option('--json', 'print JSON')
    .configureHelp({ subcommandTerm: termOf })
    .enablePositionalOptions()
    .showHelpAfterError('(see graft --help)')
    .addHelpText('after', MORE_HELP);
  for (const [heading, adders] of GROUPS) {
    graft.commandsGroup(heading);
    for (const add of adders) add(graft);
  }
  for (const command of graft.commands) configure(command);
  graft.exitOverride();
  return graft;
}

/** Name of a command in a list: alone in `graft --help`, with its arguments in the help of a group. */
function termOf(command: Command): string {
  if (command.parent?.parent === null) return command.name();
  const names = command.registeredArguments.map((one) => {
    const name = `${one.name()}${one.variadic ? '...' : ''}`;
    return one.required ? `<${name}>` : `[${name}]`;
  });
  return [command.name(), ...names].join(' ');
}

/** Lets the global options follow a command's name, and adds its examples. */
function configure(command: Command, path = command.name()): void {
  for (const inner of command.commands) configure(inner, `${path} ${inner.name()}`);
  const examples = examplesOf(path);
  if (examples.length > 0) command.addHelpText('after', examplesText(examples));
  for (const option of globalOptions()) {
    if (!command.options.some(({ long }) => long === option.long)) command.addOption(option);
  }
  command.exitOverride();
}

const globalOptions = (): Option[] => [
  new Option('--json', 'print JSON'),
  new Option('--url <url>').hideHelp(),
  new Option('--api-key <key>').hideHelp(),
  new Option('--home <folder>').hideHelp(),
];
