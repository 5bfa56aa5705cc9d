import type { Catalog } from '@graft/contracts';
import { SETTINGS } from '../config/settings.js';
import { strong } from '../output/style.js';
import { wrap } from '../output/terminal.js';

export interface Topic {
  readonly title: string;
  /** Paragraphs. Those that begin with two spaces are printed unchanged. */
  readonly text: readonly string[];
}

const settings = SETTINGS.map(
  ({ key, env, description }) => `  ${`--${key}`.padEnd(22)} ${env.padEnd(26)} ${description}`,
);

/** Topics that concern more than one command. */
export const HELP_TOPICS: Readonly<Record<string, Topic>> = {
  'getting-started': {
    title: 'from a file to a model',
    text: [
      '  graft up                                  start Graft; leave it open',
      '  graft models import hub:OWNER/NAME        import a base model',
      '  graft submit                              train it on your file; asks for both',
      '  graft watch JOB                           progress until it ends',
      '  graft chat JOB "Hello"                    try the result',
      '  graft download JOB                        save the adapter for Hugging Face PEFT',
      'graft status shows whether the server is up and what it does. graft open JOB opens a page of the dashboard.',
      'To use a server on another machine, run graft login URL and enter an API key.',
      'Next: graft help data explains training files, graft sweeps create --methods finds the best method for one.',
    ],
  },
  data: {
    title: 'training data',
    text: [
      'Training data is JSON Lines, JSON, CSV or Parquet with one example per line or row, or a .zip, .tar or folder of images or audio clips. graft help tasks shows the line formats of each task.',
      'If the columns of a table have other names, map them: --map prompt=question. Files are checked on upload. graft files show FILE lists the tasks that a file fits and the problems by line.',
      'graft submit --dry-run shows the number of steps and tokens, and how many examples are truncated.',
    ],
  },
  jobs: {
    title: 'states, names and checkpoints of jobs',
    text: [
      'A job is queued, running, paused, succeeded, failed or cancelled. graft jobs JOB shows its progress, or the reason why it waits.',
      'Name a job by its id, a prefix of the id, its name (graft job rename) or its suffix.',
      'Organize jobs with graft job tag, note and archive. Find them with graft jobs --tag, --sort and --archived. graft job delete deletes a finished job with its model and files. graft job restore undoes that for a week (the operator can change this time).',
      'graft compare JOB… compares the results and settings of up to ten jobs.',
      'A job saves checkpoints while it trains. If its worker is lost, another worker resumes it from the latest checkpoint. graft pause frees the worker; graft resume continues from the latest checkpoint.',
      'Commands that take a model also accept its job, or one of its checkpoints as JOB@STEP, JOB@best or JOB@last: graft chat my-job@40. If a model and a job have the same name, the model is used.',
      'graft checkpoints JOB lists the checkpoints with their losses. If an eval scores them (--set graft.eval=EVAL), the list has the scores, and the best score selects the model.',
      'In a pool, jobs with a lower priority number start first (--set graft.priority=50). Projects take turns.',
    ],
  },
  trackers: {
    title: 'W&B, MLflow and TensorBoard',
    text: [
      'graft integrations set wandb reads the API key from WANDB_API_KEY. graft integrations set mlflow URL reads MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN. With --every-job, every job of the project becomes a run. Otherwise, choose per job: graft submit --wandb PROJECT --mlflow EXPERIMENT.',
      'graft jobs JOB shows the URL of its run. graft integrations shows whether each tracker is reachable. Data is sent later if a tracker is temporarily unreachable.',
      'graft tensorboard JOB… --follow writes event files for tensorboard --logdir runs.',
      'graft trace JOB writes a trace of where the time of a job went, starting at the request. Open the file at ui.perfetto.dev.',
    ],
  },
  assistants: {
    title: 'the Model Context Protocol',
    text: [
      'graft mcp gives an assistant tools to read jobs, metrics, sweeps, models, files and workers. With --allow-changes, it can also create and cancel jobs and sweeps. Most clients are configured with',
      '  {"mcpServers": {"graft": {"command": "graft", "args": ["mcp"]}}}',
      'It uses the same API key as other commands. To limit what the assistant can do, create a key with fewer scopes (graft keys create --help).',
    ],
  },
  settings: {
    title: 'flags, environment and graft.json',
    text: [
      'Order of precedence: flag, environment variable, graft.json in the home folder, default. Names in graft.json have underscores instead of dashes.',
      ...settings,
    ],
  },
  'exit-codes': {
    title: 'exit codes',
    text: [
      '  0    done',
      '  1    failed or rejected by the API',
      '  2    wrong usage',
      '  3    API unreachable',
      '  130  interrupted',
    ],
  },
};

/** Topics whose text comes from the API's catalog. */
export const CATALOG_TOPICS: Readonly<Record<string, (catalog: Catalog) => Topic>> = {
  tasks: ({ tasks }) => ({
    title: 'what a model learns (--task), and the line formats of its data',
    text: tasks.flatMap(({ name, title, record_formats: formats }) => [
      strong(`${name} (${title})`),
      ...formats.map(({ line }) => `  ${line}`),
    ]),
  }),
  methods: ({ methods }) => ({
    title: 'how a model is trained: --method, with options as --set peft.NAME=VALUE',
    text: methods.flatMap(({ peft_type: name, title, summary, paper }) => [
      strong(`${name} (${title})`),
      `  ${summary} ${paper ?? ''}`.trimEnd(),
    ]),
  }),
};

export function topicText(name: string, topic: Topic, width: number): string {
  const lines = topic.text.flatMap((paragraph, n) => {
    const isList = paragraph.startsWith('  ');
    const follows = n > 0 && topic.text[n - 1]?.startsWith('  ');
    const gap = n > 0 && !(isList && follows) ? [''] : [];
    return [...gap, isList ? paragraph : wrap(paragraph, width, '')];
  });
  return `${strong(`${name}: ${topic.title}`)}\n\n${lines.join('\n')}\n`;
}
