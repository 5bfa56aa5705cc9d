import type { Catalog } from '@graft/contracts';
import { SETTINGS } from '../config/settings.js';
import { strong } from '../output/style.js';
import { wrap } from '../output/terminal.js';

export interface Topic {
  readonly title: string;
  /** Paragraphs; one that begins with two spaces is printed as it is. */
  readonly text: readonly string[];
}

const settings = SETTINGS.map(
  ({ key, env, what }) => `  ${`--${key}`.padEnd(22)} ${env.padEnd(26)} ${what}`,
);

/** What no single command's help explains. */
export const HELP_TOPICS: Readonly<Record<string, Topic>> = {
  data: {
    title: 'training data',
    text: [
      'Training data is JSON Lines, JSON, CSV or Parquet, where each line or row is an example, or a .zip, .tar or folder of pictures or sounds. graft help tasks shows what a line may be for each task.',
      'A table whose columns have other names is read with --map, as in --map prompt=question. A file is checked when it is uploaded: graft files show FILE says which tasks it fits, and what is wrong with which line.',
      'graft submit --dry-run says how many steps and tokens it makes, and which examples are too long.',
    ],
  },
  jobs: {
    title: 'the life of a job',
    text: [
      'A job is queued, running, paused, succeeded, failed or cancelled. graft jobs JOB says what it waits for or does.',
      'It is called by its id, a prefix of the id, its name (graft job rename) or its suffix.',
      'graft job tag, note and archive keep a long list in order; graft jobs --tag, --sort and --archived find them again. graft job delete takes a job that is over away with what it made; graft job restore takes that back, for a week unless the installation says otherwise.',
      'graft compare JOB… sets up to ten beside each other: what they came to, and the options on which they differ.',
      'Checkpoints are saved as it trains. When its worker is lost, it goes on from the newest one elsewhere, by itself. graft pause frees its worker, graft resume goes on from there.',
      'A checkpoint can be used as a model is: graft chat, graft download --step N, graft submit --set graft.init_adapter=….',
      'graft checkpoints JOB lists them with their losses; of a job whose checkpoints an eval scores (--set graft.eval=EVAL) with their scores, the best of which counts.',
      'Of the jobs that wait in a pool the lowest priority number is next (--set graft.priority=50); projects take turns.',
    ],
  },
  trackers: {
    title: 'W&B, MLflow and TensorBoard',
    text: [
      'graft integrations set wandb takes the key from WANDB_API_KEY, and graft integrations set mlflow URL its user name and password from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or its token from MLFLOW_TRACKING_TOKEN. With --every-job each job of the project is a run there; else the jobs that say so (graft submit --wandb PROJECT --mlflow EXPERIMENT).',
      'graft jobs JOB shows the address of its run. graft integrations says whether a tracker is reached; what happens while it is not follows later.',
      'graft tensorboard JOB… --follow writes event files for tensorboard --logdir runs.',
      'graft trace JOB writes where its time went, from the request on: open the file at ui.perfetto.dev.',
    ],
  },
  assistants: {
    title: 'the Model Context Protocol',
    text: [
      'graft mcp gives an assistant tools that read jobs, metrics, sweeps, models, files and workers. With --allow-changes it may create and cancel jobs and sweeps. Most clients are configured with',
      '  {"mcpServers": {"graft": {"command": "graft", "args": ["mcp"]}}}',
      'It acts with the API key that other commands act with: a key of its own with fewer scopes bounds it (graft keys create --help).',
    ],
  },
  settings: {
    title: 'flags, environment and graft.json',
    text: [
      'A flag wins over the environment, that over graft.json in the home, that over the default. In graft.json names have underscores.',
      ...settings,
    ],
  },
  'exit-codes': {
    title: 'exit codes',
    text: [
      '  0    done',
      '  1    refused or failed',
      '  2    wrong usage',
      '  3    API unreachable',
      '  130  interrupted',
    ],
  },
};

/** Those that the API's catalogue knows. */
export const CATALOG_TOPICS: Readonly<Record<string, (catalog: Catalog) => Topic>> = {
  tasks: ({ tasks }) => ({
    title: 'what is learnt, and from which lines of data',
    text: tasks.flatMap(({ name, title, record_formats: formats }) => [
      strong(`${name} (${title})`),
      ...formats.map(({ line }) => `  ${line}`),
    ]),
  }),
  methods: ({ methods }) => ({
    title: 'how it is learnt: --method, and its options as --set peft.NAME=VALUE',
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
