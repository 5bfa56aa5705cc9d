import type {
  ApiKeyObject,
  Catalog,
  CheckpointObject,
  ErrorBody,
  FileObject,
  FileRecordObject,
  JobEventObject,
  JobObject,
  JobPreviewObject,
  JoinTokenObject,
  MetricsObject,
  ModelObject,
  OverviewObject,
  Page,
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
    /** Of a table that was refused until somebody says which column is what. */
    readonly columns: readonly string[] | null = null,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

/** No answer came: the server is away, or the way to it. */
export class NoAnswer extends Error {
  constructor(options: ErrorOptions) {
    super('Graft does not answer.', options);
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

async function refusal(response: Response): Promise<ApiError> {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text) as ErrorBody;
    const { message, param, code, columns } = error;
    return new ApiError(response.status, message, param, code, columns ?? null);
  } catch {
    return new ApiError(response.status, `The server answered ${response.status}.`, null, null);
  }
}

/** One request to /v1 with this tab's key; throws ApiError on any refusal, NoAnswer without an answer, and signs out on a refused key. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const key = apiKey();
  const headers = new Headers(init.headers);
  headers.set('authorization', `Bearer ${key ?? ''}`);
  const response = await ask(`/v1${path}`, { ...init, headers });
  if (response.status === 401) keyRefused(key);
  if (!response.ok) throw await refusal(response);
  return response;
}

const get = async <T>(path: string): Promise<T> => (await request(path)).json() as Promise<T>;

async function post<T>(path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method: 'POST' };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { 'content-type': 'application/json' };
  }
  return (await request(path, init)).json() as Promise<T>;
}

const remove = async (path: string): Promise<void> =>
  void (await request(path, { method: 'DELETE' }));

const job = (id: string): string => `/fine_tuning/jobs/${encodeURIComponent(id)}`;

export const api = {
  overview: () => get<OverviewObject>('/overview'),
  catalog: () => get<Catalog>('/catalog'),
  workers: () => get<Page<WorkerObject>>('/workers'),
  jobs: (search: string, after?: string) =>
    get<Page<JobObject>>(
      `/fine_tuning/jobs?limit=50&search=${encodeURIComponent(search)}${after ? `&after=${after}` : ''}`,
    ),
  runningJobs: () => get<Page<JobObject>>('/fine_tuning/jobs?limit=100&status=running'),
  job: (id: string) => get<JobObject>(job(id)),
  createJob: (body: unknown) => post<JobObject>('/fine_tuning/jobs', body),
  previewJob: (body: unknown) => post<JobPreviewObject>('/fine_tuning/jobs/preview', body),
  cancel: (id: string) => post<JobObject>(`${job(id)}/cancel`),
  pause: (id: string) => post<JobObject>(`${job(id)}/pause`),
  resume: (id: string) => post<JobObject>(`${job(id)}/resume`),
  events: (id: string) => get<Page<JobEventObject>>(`${job(id)}/events?limit=1000`),
  logs: (id: string) => get<Page<JobEventObject>>(`${job(id)}/logs?limit=1000`),
  checkpoints: (id: string) => get<Page<CheckpointObject>>(`${job(id)}/checkpoints?limit=50`),
  metrics: (id: string) => get<MetricsObject>(`${job(id)}/metrics`),
  files: (purpose: string) => get<Page<FileObject>>(`/files?limit=200&purpose=${purpose}`),
  file: (id: string) => get<FileObject>(`/files/${encodeURIComponent(id)}`),
  records: (id: string, after: number, limit: number) =>
    get<Page<FileRecordObject>>(
      `/files/${encodeURIComponent(id)}/records?after=${after}&limit=${limit}`,
    ),
  deleteFile: (id: string) => remove(`/files/${id}`),
  ownKey: () => get<ApiKeyObject>('/keys/me'),
  keys: () => get<Page<ApiKeyObject>>('/keys'),
  createKey: (name: string, scopes: readonly string[]) =>
    post<ApiKeyObject>('/keys', { name, scopes }),
  revokeKey: (id: string) => remove(`/keys/${id}`),
  joinTokens: () => get<Page<JoinTokenObject>>('/join_tokens'),
  createJoinToken: (name: string, pool: string | null) =>
    post<JoinTokenObject>('/join_tokens', { name, pool }),
  revokeJoinToken: (id: string) => remove(`/join_tokens/${id}`),
  models: () => get<Page<ModelObject>>('/models'),
  model: (id: string) => get<ModelObject>(`/models/${encodeURIComponent(id)}`),
  importModel: (source: string) => post<ModelObject>('/models', { source }),
  deleteModel: (id: string) => remove(`/models/${encodeURIComponent(id)}`),
  upload: async (
    file: File,
    columns: Readonly<Record<string, string>> = {},
  ): Promise<FileObject> => {
    const form = new FormData();
    form.append('purpose', 'fine-tune');
    for (const [part, name] of Object.entries(columns)) form.append(`columns[${part}]`, name);
    form.append('file', file, file.name);
    return (await request('/files', { method: 'POST', body: form })).json() as Promise<FileObject>;
  },
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

/** Saves a model or a checkpoint in one piece, as a zip under a name that file systems take. */
export const archive = async (model: string): Promise<void> =>
  save(
    await request(`/models/${encodeURIComponent(model)}/archive`),
    `${model.replaceAll(/[^\w.-]+/g, '-')}.zip`,
  );
