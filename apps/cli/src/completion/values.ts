import type {
  BatchObject,
  Catalog,
  EvalObject,
  FileObject,
  JobObject,
  ModelObject,
  PoolObject,
  SweepObject,
} from '@graft/contracts';
import { methodTitle, NAMED_METHODS } from '@graft/contracts/job-method';
import type { Api } from '../client/api.js';
import { CATALOG_TOPICS, HELP_TOPICS } from '../command-line/help-topics.js';
import { checkpointsOf, splitCheckpoint } from '../find/find-checkpoint.js';
import { findJobId } from '../find/find-job.js';
import { projectPath } from '../find/find-project.js';
import { shortId } from '../find/short-id.js';
import type { Completion } from './completion.js';

/** Most objects of a kind to ask for. Users complete what they worked with last. */
const LIMIT = 100;

interface Named {
  readonly id: string;
  readonly name: string;
  readonly about: string;
}

type Fetch = (api: Api, typed: string) => Promise<readonly Completion[]>;

const page = async <T>(api: Api, path: string): Promise<readonly T[]> =>
  (await api.get<{ data: readonly T[] }>(path)).data;

/** Names that can be typed without quotes and belong to one object only; otherwise short ids. */
function names(all: readonly Named[]): Completion[] {
  return all.map(({ id, name, about }) => {
    const isOnly = all.filter((one) => one.name === name).length === 1;
    return isOnly && /^[\p{L}\p{N}_./:-]+$/u.test(name)
      ? [name, about]
      : [shortId(id), [name, about].filter((part) => part !== '').join(', ')];
  });
}

const listed =
  <T extends { readonly id: string }>(
    path: string,
    name: (one: T) => string,
    about: (one: T) => string,
  ): Fetch =>
  async (api) => {
    const all = await page<T>(api, path);
    return names(all.map((one) => ({ id: one.id, name: name(one), about: about(one) })));
  };

const jobs = listed<JobObject>(
  `/fine_tuning/jobs?limit=${LIMIT}`,
  (job) => job.graft.name,
  (job) => `${job.status}, ${methodTitle(job)}`,
);

/** Jobs, and after `@` the checkpoints of one. */
const checkpoints: Fetch = async (api, typed) => {
  const job = splitCheckpoint(typed.replace(/@\w*$/, '@last'))?.job;
  if (job === undefined) return jobs(api, typed);
  const found = await checkpointsOf(api, await findJobId(api, job));
  const steps = found.filter(({ graft }) => graft.usable);
  const last = steps.length > 0 ? [[`${job}@last`, ''] satisfies Completion] : [];
  const best = steps.some(({ graft }) => graft.best)
    ? [[`${job}@best`, ''] satisfies Completion]
    : [];
  return [
    ...best,
    ...last,
    ...steps.map(({ step_number: step }): Completion => [`${job}@${step}`, 'step']),
  ];
};

const models: Fetch = async (api) =>
  (await page<ModelObject>(api, '/models'))
    .filter(({ graft }) => graft?.status !== 'error')
    .map(({ id, graft }): Completion => [id, graft?.kind ?? '']);

const methods: Fetch = async (api) => {
  const catalog = await api.get<Catalog>('/catalog');
  return [
    ...catalog.methods.map(({ peft_type: name, title }): Completion => [name, title]),
    ...NAMED_METHODS.map(({ name }): Completion => [name, 'variant of LoRA']),
    ['FULL', 'full fine-tuning'],
  ];
};

const project = async (api: Api): Promise<string> =>
  projectPath((await api.get<{ project: { id: string } }>('/keys/me')).project.id);

const FETCHES = {
  jobs,
  checkpoints,
  models,
  methods,
  sweeps: listed<SweepObject>(
    `/sweeps?limit=${LIMIT}`,
    ({ name }) => name,
    ({ status }) => status,
  ),
  files: listed<FileObject>(
    `/files?limit=${LIMIT}`,
    ({ filename }) => filename,
    ({ purpose }) => purpose,
  ),
  batches: listed<BatchObject>(
    `/batches?limit=${LIMIT}`,
    ({ id }) => id,
    ({ status }) => status,
  ),
  evals: listed<EvalObject>(
    `/evals?limit=${LIMIT}&order=desc`,
    ({ name }) => name,
    () => 'eval',
  ),
  tasks: async (api: Api) =>
    (await api.get<Catalog>('/catalog')).tasks.map(
      ({ name, title }) => [name, title] satisfies Completion,
    ),
  pools: async (api: Api) =>
    (await page<PoolObject>(api, '/pools')).map(
      ({ id, queued }) => [id, `${queued} queued`] satisfies Completion,
    ),
  projects: listed<Named>(
    '/organization/projects',
    ({ name }) => name,
    () => 'project',
  ),
  workers: listed<Named & { state: string }>(
    '/workers',
    ({ name }) => name,
    ({ state }) => state,
  ),
  webhooks: listed<Named>(
    '/webhook_endpoints',
    ({ name }) => name,
    () => 'endpoint',
  ),
  members: async (api: Api) =>
    names(
      (await page<Named>(api, `${await project(api)}/users`)).map(({ id, name }) => ({
        id,
        name,
        about: 'member',
      })),
    ),
  topics: () =>
    Promise.resolve(
      [...Object.keys(HELP_TOPICS), ...Object.keys(CATALOG_TOPICS)].map((name): Completion => [
        name,
        'topic',
      ]),
    ),
} as const satisfies Readonly<Record<string, Fetch>>;

export type Kind = keyof typeof FETCHES;

/** Whether a kind changes only with the server's build. */
export const isFixed = (kind: Kind): boolean => kind === 'methods' || kind === 'tasks';

export const fetchValues = (api: Api, kind: Kind, typed: string): Promise<readonly Completion[]> =>
  FETCHES[kind](api, typed);
