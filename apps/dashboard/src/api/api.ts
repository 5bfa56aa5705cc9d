import type {
  ApiKeyObject,
  AuditLogObject,
  Catalog,
  CheckpointObject,
  DeletedJobObject,
  ErrorBody,
  EvalObject,
  EvalOutputItemObject,
  EvalRunObject,
  FileObject,
  FileRecordObject,
  JobEventObject,
  JobConfusionObject,
  JobLedgerObject,
  JobObject,
  JobPreviewObject,
  JobSampleObject,
  JoinTokenObject,
  LimitsObject,
  MetricsObject,
  ModelObject,
  OverviewObject,
  OwnKeyObject,
  Page,
  PoolObject,
  ProjectApiKeyObject,
  ProjectDeletionObject,
  ProjectObject,
  ProjectUserObject,
  Role,
  IntegrationObject,
  IntegrationType,
  UpdateJob,
  SweepObject,
  WebhookDeliveryObject,
  WebhookEndpointObject,
  WorkerObject,
} from '@graft/contracts';
import { answered, probe } from './contact.js';
import { apiKey, keyRefused } from './session.js';

/** The API's answer to a request it refused, with the field it names. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly param: string | null,
    readonly code: string | null,
    /** Columns of a table that was refused until somebody says which is what, and which may be what. */
    readonly table: {
      readonly columns: readonly string[];
      readonly suggested: Readonly<Record<string, string>> | null;
    } | null = null,
    /** Seconds after which it may be asked again, where that is worth while. */
    readonly retryAfter: number | null = null,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

/** No answer came: the server is away, or the way to it. */
export class NoAnswer extends Error {
  constructor(options: ErrorOptions) {
    super('Graft is not responding.', options);
    this.name = 'NoAnswer';
  }
}

/** The answer, whatever it says. The browser's own words for its absence differ by browser. */
async function ask(path: string, init: RequestInit): Promise<Response> {
  try {
    const response = await fetch(path, init);
    if (response.status < 500) answered();
    return response;
  } catch (cause) {
    if (init.signal?.aborted) throw cause;
    void probe();
    throw new NoAnswer({ cause });
  }
}

/** Why the API refused a request. */
export async function refusal(response: Response): Promise<ApiError> {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text) as ErrorBody;
    const { message, param, code, columns, suggested_columns: suggested = null } = error;
    const table = columns ? { columns, suggested } : null;
    const after = Number(response.headers.get('retry-after')) || null;
    return new ApiError(response.status, message, param, code, table, after);
  } catch {
    return new ApiError(
      response.status,
      `The server returned HTTP ${response.status}.`,
      null,
      null,
    );
  }
}

/** One request to /v1, with this tab's key unless another is given; throws ApiError on any refusal, NoAnswer without an answer, and signs out on a refused key. */
export async function request(
  path: string,
  init: RequestInit = {},
  key = apiKey(),
): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set('authorization', `Bearer ${key ?? ''}`);
  const response = await ask(`/v1${path}`, { ...init, headers });
  if (response.status === 401) keyRefused(key);
  if (!response.ok) throw await refusal(response);
  return response;
}

const get = async <T>(path: string): Promise<T> => (await request(path)).json() as Promise<T>;

async function post<T>(path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = { method: 'POST', ...(signal && { signal }) };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { 'content-type': 'application/json' };
  }
  return (await request(path, init)).json() as Promise<T>;
}

const remove = async (path: string): Promise<void> =>
  void (await request(path, { method: 'DELETE' }));

/**
 * All pages of a list, one after the other.
 * @param known what was there already, where none of it changes and what is new comes before it: asked for no more
 */
async function all<T extends { readonly id: string }>(
  path: string,
  known: readonly T[] = [],
): Promise<readonly T[]> {
  const list: T[] = [];
  let page: Page<T>;
  do {
    const after = list.at(-1)?.id;
    const next = after === undefined ? '' : `&after=${encodeURIComponent(after)}`;
    page = await get<Page<T>>(`${path}${path.includes('?') ? '&' : '?'}limit=100${next}`);
    list.push(...page.data);
    const last = list.at(-1)?.id;
    const at = known.findIndex(({ id }) => id === last);
    if (at >= 0) return [...list, ...known.slice(at + 1)];
  } while (page.has_more && page.data.length > 0);
  return list;
}

const webhook = (id: string): string => `/webhook_endpoints/${encodeURIComponent(id)}`;
const project = (id: string): string => `/organization/projects/${encodeURIComponent(id)}`;
const pool = (name: string): string => `/pools/${encodeURIComponent(name)}`;

const evals = (id: string): string => `/evals/${encodeURIComponent(id)}`;
const evalRun = (of: string, id: string): string => `${evals(of)}/runs/${encodeURIComponent(id)}`;
const sweep = (id: string): string => `/sweeps/${encodeURIComponent(id)}`;
const job = (id: string): string => `/fine_tuning/jobs/${encodeURIComponent(id)}`;

/** A picture as it lies on disk: a body of JSON has no room for large ones. */
async function sendFile<T>(
  path: string,
  { model, file }: { readonly model: string; readonly file: File },
  signal: AbortSignal,
): Promise<T[]> {
  const form = new FormData();
  form.append('model', model);
  form.append('file', file, file.name);
  const response = await request(path, { method: 'POST', body: form, signal });
  return ((await response.json()) as { data: T[] }).data;
}

export const api = {
  overview: () => get<OverviewObject>('/overview'),
  catalog: () => get<Catalog>('/catalog'),
  workers: () => get<Page<WorkerObject>>('/workers?limit=500'),
  orderWorker: (id: string, order: 'drain' | 'cordon' | 'uncordon') =>
    post<WorkerObject>(`/workers/${encodeURIComponent(id)}/${order}`),
  removeWorker: (id: string) => remove(`/workers/${encodeURIComponent(id)}`),
  jobs: (query: URLSearchParams, after?: string, limit = 100) =>
    get<Page<JobObject>>(
      `/fine_tuning/jobs?limit=${limit}&${query.toString()}${after ? `&after=${after}` : ''}`,
    ),
  changeJob: (id: string, graft: UpdateJob['graft']) => post<JobObject>(job(id), { graft }),
  deleteJob: async (id: string) =>
    (await request(job(id), { method: 'DELETE' })).json() as Promise<DeletedJobObject>,
  restoreJob: (id: string) => post<JobObject>(`${job(id)}/restore`),
  runningJobs: () => get<Page<JobObject>>('/fine_tuning/jobs?limit=100&status=running'),
  job: (id: string) => get<JobObject>(job(id)),
  createJob: (body: unknown) => post<JobObject>('/fine_tuning/jobs', body),
  previewJob: (body: unknown) => post<JobPreviewObject>('/fine_tuning/jobs/preview', body),
  cancel: (id: string) => post<JobObject>(`${job(id)}/cancel`),
  pause: (id: string) => post<JobObject>(`${job(id)}/pause`),
  resume: (id: string) => post<JobObject>(`${job(id)}/resume`),
  /** The newest. */
  sweeps: () => get<Page<SweepObject>>('/sweeps?limit=100'),
  sweep: (id: string) => get<SweepObject>(sweep(id)),
  createSweep: (body: unknown) => post<SweepObject>('/sweeps', body),
  cancelSweep: (id: string) => post<SweepObject>(`${sweep(id)}/cancel`),
  events: (id: string) => get<Page<JobEventObject>>(`${job(id)}/events?limit=1000`),
  logs: (id: string) => get<Page<JobEventObject>>(`${job(id)}/logs?limit=1000`),
  checkpoints: (id: string) => get<Page<CheckpointObject>>(`${job(id)}/checkpoints?limit=50`),
  ledger: (id: string, step: number | null) =>
    get<JobLedgerObject>(`${job(id)}/ledger?limit=50${step === null ? '' : `&step=${step}`}`),
  confusion: (id: string, step: number | null) =>
    get<JobConfusionObject>(`${job(id)}/confusion${step === null ? '' : `?step=${step}`}`),
  samples: (id: string, known?: readonly JobSampleObject[]) => all(`${job(id)}/samples`, known),
  metrics: (id: string) => get<MetricsObject>(`${job(id)}/metrics`),
  files: (purpose: string) => get<Page<FileObject>>(`/files?limit=200&purpose=${purpose}`),
  file: (id: string) => get<FileObject>(`/files/${encodeURIComponent(id)}`),
  records: (id: string, after: number, limit: number) =>
    get<Page<FileRecordObject>>(
      `/files/${encodeURIComponent(id)}/records?after=${after}&limit=${limit}`,
    ),
  deleteFile: (id: string) => remove(`/files/${id}`),
  integrations: async () => (await get<Page<IntegrationObject>>('/integrations')).data,
  setIntegration: (type: IntegrationType, body: unknown) =>
    post<IntegrationObject>(`/integrations/${type}`, body),
  deleteIntegration: (type: IntegrationType) => remove(`/integrations/${type}`),
  webhooks: () => all<WebhookEndpointObject>('/webhook_endpoints'),
  createWebhook: (body: unknown) => post<WebhookEndpointObject>('/webhook_endpoints', body),
  changeWebhook: (id: string, body: unknown) => post<WebhookEndpointObject>(webhook(id), body),
  deleteWebhook: (id: string) => remove(webhook(id)),
  rotateWebhookSecret: (id: string) => post<WebhookEndpointObject>(`${webhook(id)}/rotate_secret`),
  testWebhook: (id: string) => post<WebhookDeliveryObject>(`${webhook(id)}/test`),
  webhookDeliveries: (id: string) =>
    get<Page<WebhookDeliveryObject>>(`${webhook(id)}/deliveries?limit=50`),
  retryWebhook: (id: string, delivery: string) =>
    post<WebhookDeliveryObject>(`${webhook(id)}/deliveries/${delivery}/retry`),
  ownKey: () => get<OwnKeyObject>('/keys/me'),
  keys: () => get<Page<ApiKeyObject>>('/keys'),
  createKey: (name: string, scopes: readonly string[]) =>
    post<ApiKeyObject>('/keys', { name, scopes }),
  revokeKey: (id: string) => remove(`/keys/${id}`),
  limits: () => get<LimitsObject>('/limits'),
  projects: () => all<ProjectObject>('/organization/projects?include_archived=true'),
  project: (id: string) => get<ProjectObject>(project(id)),
  createProject: (body: unknown) => post<ProjectObject>('/organization/projects', body),
  modifyProject: (id: string, body: unknown) => post<ProjectObject>(project(id), body),
  archiveProject: (id: string) => post<ProjectObject>(`${project(id)}/archive`),
  projectDeletion: (id: string) => get<ProjectDeletionObject>(`${project(id)}/deletion`),
  deleteProject: (id: string) => remove(project(id)),
  restoreProject: (id: string) => post<ProjectObject>(`${project(id)}/restore`),
  limitsOf: (id: string) => get<LimitsObject>(`${project(id)}/limits`),
  members: (id: string) => all<ProjectUserObject>(`${project(id)}/users`),
  addMember: (id: string, name: string, role: Role) =>
    post<ProjectUserObject>(`${project(id)}/users`, { name, role }),
  setRole: (id: string, member: string, role: Role) =>
    post<ProjectUserObject>(`${project(id)}/users/${member}`, { role }),
  removeMember: (id: string, member: string) => remove(`${project(id)}/users/${member}`),
  projectKeys: (id: string) => all<ProjectApiKeyObject>(`${project(id)}/api_keys`),
  createProjectKey: (id: string, body: unknown) =>
    post<ProjectApiKeyObject>(`${project(id)}/api_keys`, body),
  revokeProjectKey: (id: string, key: string) => remove(`${project(id)}/api_keys/${key}`),
  auditLog: (query: URLSearchParams) =>
    get<Page<AuditLogObject>>(`/organization/audit_logs?${query.toString()}`),
  pools: () => get<Page<PoolObject>>('/pools'),
  /** The pool of a name, which need not be there. */
  poolNamed: (name: string) => get<Page<PoolObject>>(`/pools?name=${encodeURIComponent(name)}`),
  pool: (name: string) => get<PoolObject>(pool(name)),
  cordonPool: (name: string, cordoned: boolean) =>
    post<PoolObject>(`${pool(name)}/${cordoned ? 'cordon' : 'uncordon'}`),
  setPoolOpen: (name: string, open: boolean) => post<PoolObject>(pool(name), { open }),
  grantPool: (name: string, projectId: string) =>
    post<PoolObject>(`${pool(name)}/grants`, { project_id: projectId }),
  revokePool: (name: string, projectId: string) =>
    remove(`${pool(name)}/grants/${encodeURIComponent(projectId)}`),
  joinTokens: () => get<Page<JoinTokenObject>>('/join_tokens'),
  createJoinToken: (name: string, pool: string | null) =>
    post<JoinTokenObject>('/join_tokens', { name, pool }),
  revokeJoinToken: (id: string) => remove(`/join_tokens/${id}`),
  evals: () => all<EvalObject>('/evals?order=desc'),
  eval: (id: string) => get<EvalObject>(evals(id)),
  deleteEval: (id: string) => remove(evals(id)),
  evalRuns: (id: string) => all<EvalRunObject>(`${evals(id)}/runs?order=desc`),
  evalRun: (of: string, id: string) => get<EvalRunObject>(evalRun(of, id)),
  createEvalRun: (of: string, body: unknown) => post<EvalRunObject>(`${evals(of)}/runs`, body),
  cancelEvalRun: (of: string, id: string) => post<EvalRunObject>(evalRun(of, id)),
  deleteEvalRun: (of: string, id: string) => remove(evalRun(of, id)),
  outputItems: (of: string, id: string, query: URLSearchParams) =>
    get<Page<EvalOutputItemObject>>(`${evalRun(of, id)}/output_items?${query.toString()}`),
  allOutputItems: (of: string, id: string) =>
    all<EvalOutputItemObject>(`${evalRun(of, id)}/output_items`),
  models: () => get<Page<ModelObject>>('/models'),
  model: (id: string) => get<ModelObject>(`/models/${encodeURIComponent(id)}`),
  embed: async (model: string, input: readonly string[], signal: AbortSignal) => {
    const body = { model, input, encoding_format: 'float' };
    const { data } = await post<{ data: readonly { readonly embedding: readonly number[] }[] }>(
      '/embeddings',
      body,
      signal,
    );
    return data.map(({ embedding }) => embedding);
  },
  classify: async (model: string, input: readonly unknown[], signal: AbortSignal) =>
    (
      await post<{ data: Readonly<Record<string, unknown>>[] }>(
        '/classify',
        { model, input },
        signal,
      )
    ).data,
  classifyFile: (model: string, file: File, signal: AbortSignal) =>
    sendFile<Readonly<Record<string, unknown>>>('/classify', { model, file }, signal),
  embedFile: async (model: string, file: File, signal: AbortSignal) =>
    (
      await sendFile<{ readonly embedding: readonly number[] }>(
        '/embeddings',
        { model, file },
        signal,
      )
    ).map(({ embedding }) => embedding),
  /** What is said in a sound, as it is written. */
  transcribe: (model: string, file: File, signal: AbortSignal) => {
    const form = new FormData();
    form.append('model', model);
    form.append('stream', 'true');
    form.append('file', file, file.name);
    return request('/audio/transcriptions', { method: 'POST', body: form, signal });
  },
  operate: (body: unknown) => post<JobObject>('/adapters/operations', body),
  importModel: (source: string) => post<ModelObject>('/models', { source }),
  deleteModel: (id: string) => remove(`/models/${encodeURIComponent(id)}`),
};

async function save(response: Response, name: string): Promise<void> {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Saves a stored file under its own name. */
export const download = async (id: string, name: string): Promise<void> =>
  save(await request(`/files/${id}/content`), name);

/** Saves a job's time as trace viewers open it. */
export const trace = async (job: string): Promise<void> =>
  save(await request(`/fine_tuning/jobs/${encodeURIComponent(job)}/trace`), `${job}.trace.json`);

/** Saves a model or a checkpoint in one piece, as a zip under a name that file systems take. */
export const archive = async (model: string): Promise<void> =>
  save(
    await request(`/models/${encodeURIComponent(model)}/archive`),
    `${model.replaceAll(/[^\w.-]+/g, '-')}.zip`,
  );
