// docs/reference/openai.md: which methods of OpenAI's SDK work, from the installed package and Graft's routes.
import { cell, code, page, table } from './markdown.mjs';

/** Methods that work without a route of their own, and what they use. */
const BUILT_ON = {
  'chat.completions.parse': 'chat.completions.create',
  'chat.completions.runTools': 'chat.completions.create',
  'chat.completions.stream': 'chat.completions.create',
  'files.waitForProcessing': 'files.retrieve',
  'responses.parse': 'responses.create',
  'responses.stream': 'responses.create',
};

/** Methods that send no request. */
const LOCAL = {
  'webhooks.unwrap': 'Needs no server; Graft signs as OpenAI does',
  'webhooks.verifySignature': 'Needs no server; Graft signs as OpenAI does',
};

/** Differences from OpenAI in methods that work. */
const NOTES = {
  'audio.transcriptions.create': 'WAV and FLAC; no word timestamps, speakers or log probabilities',
  'batches.create': 'Also `/v1/classify`, and other windows than 24 hours',
  'chat.completions.create': 'Unsupported fields are rejected by name',
  'completions.create': 'Unsupported fields are rejected by name',
  'evals.create': 'Without stored completions and logs',
  'evals.runs.cancel': 'Older SDKs leave `/cancel` out, which works too',
  'evals.runs.create': 'Without tools, images and audio',
  'files.create': 'Purposes `fine-tune`, `evals` and `batch`',
  'fineTuning.alpha.graders.run': 'Without the metric `cosine`',
  'fineTuning.jobs.create':
    'Methods `supervised` and `dpo`, and all of Graft by `peft` and `graft`',
  'responses.create': 'Text and function tools; no `conversation`',
  'uploads.create': 'Purposes `fine-tune`, `evals` and `batch`',
};

/** Reasons why methods do not work, by the beginning of their names. The longest one counts. */
const REASONS = {
  'admin.organization.certificates': 'Graft does not check client certificates of users',
  'admin.organization.dataRetention': 'The operator configures retention',
  'admin.organization.externalKeys': 'The operator encrypts the disk or the bucket',
  'admin.organization.externalStorage': 'The operator configures the storage of all projects',
  'admin.organization.groups': 'Graft has users of projects, but no groups',
  'admin.organization.invites': 'Add users to a project directly',
  'admin.organization.projects.apiKeys.update': 'Delete the key and create another',
  'admin.organization.projects.certificates': 'Graft does not check client certificates of users',
  'admin.organization.projects.dataRetention': 'The operator configures retention',
  'admin.organization.projects.groups': 'Graft has users of projects, but no groups',
  'admin.organization.projects.hostedToolPermissions': 'Graft has no hosted tools',
  'admin.organization.projects.modelPermissions': 'All projects may use all base models',
  'admin.organization.projects.rateLimits': 'Use `limits` of a project',
  'admin.organization.projects.roles': 'Roles are fixed: owner, member, viewer',
  'admin.organization.projects.serviceAccounts': 'Create an API key for each program instead',
  'admin.organization.projects.serviceTierSettings': 'Graft has no service tiers',
  'admin.organization.projects.spendAlerts': 'Graft charges nothing',
  'admin.organization.projects.spendLimit': 'Graft charges nothing; quotas limit a project',
  'admin.organization.projects.users.roles': 'A user has one role; update the user',
  'admin.organization.roles': 'Roles are fixed: owner, member, viewer',
  'admin.organization.spendAlerts': 'Graft charges nothing',
  'admin.organization.spendLimit': 'Graft charges nothing; quotas limit a project',
  'admin.organization.usage':
    'Graft counts completions, embeddings and training; see `/organization/usage/inference`',
  'admin.organization.usage.costs': 'Graft charges nothing',
  'admin.organization.users': 'Users belong to projects: `admin.organization.projects.users`',
  'admin.organization.workloadIdentityProviders': 'Create an API key for each program instead',
  'audio.speech': 'Graft has no models that speak',
  'audio.translations': 'Graft transcribes, but does not translate',
  'audio.voiceConsents': 'Graft has no models that speak',
  'audio.voices': 'Graft has no models that speak',
  'beta.agents': 'Graft has no agents',
  'beta.assistants': 'Graft has no assistants',
  'beta.chatkit': 'Graft has no ChatKit',
  'beta.realtime': 'Graft has no realtime sessions',
  'beta.responses': 'Use `responses`',
  'beta.threads': 'Graft has no assistants, and so no threads',
  'chat.completions': 'Graft does not store chat completions; use `responses`',
  containers: 'Graft has no containers',
  contentProvenanceChecks: 'It finds marks of models of OpenAI',
  conversations: 'Use `previous_response_id` of `responses`',
  decisions: 'Graft has no decisions; train a classifier and use `POST /v1/classify`',
  'fineTuning.checkpoints.permissions':
    'A model belongs to one project; import its adapter into another',
  images: 'Graft has no models that draw',
  live: 'Graft has no live sessions',
  moderations: 'Graft has no moderation models; use `POST /v1/classify`',
  realtime: 'Graft has no realtime sessions',
  'responses.compact': 'Graft does not compact conversations',
  'responses.inputTokens': 'A response has the count in `usage`',
  safety: 'Graft does not screen what its users write',
  skills: 'Graft has no skills',
  vectorStores: 'Graft has no vector stores',
  videos: 'Graft has no models for videos',
};

/** @returns {{ name: string, works: boolean, route: string | null, why: string }[]} a row for each method */
export function openaiRows(methods, paths) {
  const routes = new Set(
    Object.entries(paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((verb) => nameless(`${verb.toUpperCase()} ${path}`)),
    ),
  );
  const routeOf = new Map(methods.map(({ name, route }) => [name, route]));
  const used = new Set();
  const rows = methods.map(({ name, route }) => {
    const sent = routeOf.get(BUILT_ON[name]) ?? route;
    const works = name in LOCAL || (sent !== null && routes.has(sent));
    if (works) {
      const why =
        LOCAL[name] ?? (BUILT_ON[name] ? `Uses \`${BUILT_ON[name]}\`` : (NOTES[name] ?? ''));
      return { name, works, route: sent, why };
    }
    const reason = reasonOf(name);
    used.add(reason);
    return { name, works, route: sent, why: REASONS[reason] };
  });
  const stale = [
    ...Object.keys(REASONS).filter((reason) => !used.has(reason)),
    ...[BUILT_ON, LOCAL, NOTES].flatMap(Object.keys).filter((name) => !isWorking(rows, name)),
  ];
  if (stale.length > 0) throw new Error(`openai-page.mjs: apply to no method: ${stale.join(', ')}`);
  return rows;
}

function reasonOf(name) {
  const [longest] = Object.keys(REASONS)
    .filter((start) => name === start || name.startsWith(`${start}.`))
    .sort((a, b) => b.length - a.length);
  if (!longest)
    throw new Error(
      `openai-page.mjs: ${name} has no route in Graft; add it, or a reason to REASONS`,
    );
  return longest;
}

const isWorking = (rows, name) => rows.some((row) => row.name === name && row.works);

/** Leaves the names of parameters out: `{id}` becomes `{}`. */
const nameless = (path) => path.replaceAll(/\{\w+\}/g, '{}');

export function openaiPage({ version, methods, paths }) {
  const rows = openaiRows(methods, paths);
  const groups = [...new Set(rows.map(groupOf))];
  const count = rows.filter(({ works }) => works).length;
  return page(
    "Methods of OpenAI's SDK",
    `Methods of the npm package \`openai\` ${version} and whether they work with Graft: ${count} of ${rows.length} do. Other versions and the Python package send the same requests. A method that does not work gets a 404 with the code \`not_found\`. [Migrate from OpenAI](../guides/migrate-from-openai.md) explains the differences.`,
    ...groups.map((group) =>
      [
        `## ${group}`,
        table(
          ['method', 'works', 'request', 'note'],
          rows
            .filter((row) => groupOf(row) === group)
            .map(({ name, works, route, why }) => [
              code(name),
              works ? 'yes' : 'no',
              route ? code(route) : '',
              cell(why),
            ]),
        ),
      ].join('\n\n'),
    ),
  );
}

const groupOf = ({ name }) => name.split('.')[0];
