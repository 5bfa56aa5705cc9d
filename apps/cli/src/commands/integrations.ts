import type { IntegrationObject, IntegrationType, Page } from '@graft/contracts';
import { INTEGRATION_NAMES, INTEGRATION_TYPES } from '@graft/contracts/integration-names';
import { Argument, type Command } from 'commander';
import { callOf } from '../command-line/command-line.js';
import { CliError, EXIT } from '../cli-error.js';
import { failure } from '../output/style.js';
import { ago, printable, table, type Output } from '../output/terminal.js';
import { GRAFT } from '../called.js';

interface Changes {
  readonly apiKeyEnv?: string;
  readonly username?: string;
  readonly project?: string;
  readonly entity?: string;
  readonly everyJob?: boolean;
}

/** Environment variable from which the tracker's own client reads its key. */
function keyVariable(kind: IntegrationType, isUser: boolean): string {
  if (kind === 'wandb') return 'WANDB_API_KEY';
  return isUser ? 'MLFLOW_TRACKING_PASSWORD' : 'MLFLOW_TRACKING_TOKEN';
}

const type = (): Argument => new Argument('<type>').choices(INTEGRATION_TYPES);

export function addIntegrations(program: Command): void {
  const integrations = program
    .command('integrations')
    .description('Manage experiment trackers: W&B and MLflow');
  integrations
    .command('list', { isDefault: true })
    .description('List trackers and whether they are reachable')
    .action(async (_options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const { data } = await api().get<Page<IntegrationObject>>('/integrations');
      if (out.json) return out.value(data);
      if (data.length === 0)
        return out.line(`no integrations yet: ${GRAFT} integrations set wandb|mlflow …`);
      const header = ['TYPE', 'URL', 'PROJECT', 'JOBS', 'STATE', 'LAST SENT'];
      out.line(table(header, data.map(row), { width: out.width }));
      for (const { type: failing, last_error: error } of data)
        if (error !== null) out.line(failure(`${failing}: ${printable(error)}`));
    });
  integrations
    .command('set')
    .description('Set up or replace a tracker; reads the key from the environment')
    .addArgument(type())
    .argument('[url]', 'URL of the server (W&B default: https://api.wandb.ai)')
    .option(
      '--api-key-env <variable>',
      'environment variable with the key (default: WANDB_API_KEY; for MLflow MLFLOW_TRACKING_PASSWORD with a user name, otherwise MLFLOW_TRACKING_TOKEN)',
    )
    .option('--username <name>', 'MLflow user name; the key is its password')
    .option('--project <name>', 'default W&B project or MLflow experiment', 'graft')
    .option('--entity <name>', 'W&B team or user')
    .option('--every-job', 'track every job, not only those that name this tracker')
    .action(
      async (
        kind: IntegrationType,
        url: string | undefined,
        options: Changes,
        command: Command,
      ) => {
        const { out, api } = callOf(command);
        const { apiKeyEnv, everyJob, project, entity } = options;
        const named = (variable: string): string | undefined => process.env[variable] || undefined;
        const username =
          options.username ??
          (kind === 'mlflow' && !apiKeyEnv ? named('MLFLOW_TRACKING_USERNAME') : undefined);
        const key = named(apiKeyEnv ?? keyVariable(kind, username !== undefined));
        if (apiKeyEnv && key === undefined)
          throw new CliError(
            `${apiKeyEnv} is not set; set it to the key of the tracker`,
            EXIT.usage,
          );
        const body = {
          ...{ url, username, api_key: key, project, entity },
          every_job: everyJob === true,
        };
        show(out, await api().post<IntegrationObject>(`/integrations/${kind}`, body));
      },
    );
  integrations
    .command('delete')
    .description('Remove a tracker; its runs remain there')
    .addArgument(type())
    .action(async (kind: IntegrationType, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      await api().delete<unknown>(`/integrations/${kind}`);
      out.line(`${kind} deleted`);
    });
}

function show(out: Output, one: IntegrationObject): void {
  if (out.json) return out.value(one);
  out.line(
    `${INTEGRATION_NAMES[one.type]} at ${printable(one.url)}: ${one.every_job ? 'every job' : 'jobs that name it'}`,
  );
}

const row = (one: IntegrationObject): string[] => [
  one.type,
  printable(one.url),
  printable([one.entity, one.project].filter((part) => part !== null).join('/')),
  one.every_job ? 'every' : 'by name',
  one.failing_since === null ? 'on' : `failing for ${ago(one.failing_since).replace(/ ago$/, '')}`,
  one.last_sent_at === null ? 'never' : ago(one.last_sent_at),
];
