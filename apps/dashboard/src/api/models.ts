import type {
  Catalog,
  CatalogTask,
  JobObject,
  ModelObject,
  Page,
  TranscriptionVerboseObject,
} from '@graft/contracts';
import { get, post, remove, request } from './request.js';

/** Sends an image as raw bytes, because JSON bodies are too small for large images. */
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

interface Audio {
  readonly model: string;
  readonly file: File;
  readonly signal: AbortSignal;
}

function sendAudio(
  { model, file, signal }: Audio,
  options: Readonly<Record<string, string>>,
): Promise<Response> {
  const form = new FormData();
  form.append('model', model);
  for (const [name, value] of Object.entries(options)) form.append(name, value);
  form.append('file', file, file.name);
  return request('/audio/transcriptions', { method: 'POST', body: form, signal });
}

export const modelsApi = {
  catalog: () => get<Catalog>('/catalog'),
  tasks: async () => (await get<Page<CatalogTask>>('/catalog/tasks')).data,
  models: () => get<Page<ModelObject>>('/models'),
  model: (id: string) => get<ModelObject>(`/models/${encodeURIComponent(id)}`),
  importModel: (source: string) => post<ModelObject>('/models', { source }),
  deleteModel: (id: string) => remove(`/models/${encodeURIComponent(id)}`),
  operate: (body: unknown) => post<JobObject>('/adapters/operations', body),
  embed: async (model: string, input: readonly string[], signal: AbortSignal) => {
    const body = { model, input, encoding_format: 'float' };
    const { data } = await post<{ data: readonly { readonly embedding: readonly number[] }[] }>(
      '/embeddings',
      body,
      signal,
    );
    return data.map(({ embedding }) => embedding);
  },
  embedFile: async (model: string, file: File, signal: AbortSignal) =>
    (
      await sendFile<{ readonly embedding: readonly number[] }>(
        '/embeddings',
        { model, file },
        signal,
      )
    ).map(({ embedding }) => embedding),
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
  /** Transcribes an audio file, as a stream. */
  transcribe: (model: string, file: File, signal: AbortSignal) =>
    sendAudio({ model, file, signal }, { stream: 'true' }),
  /** Transcribes an audio file, with the times of its parts. */
  transcribeTimed: async (model: string, file: File, signal: AbortSignal) =>
    (
      await sendAudio({ model, file, signal }, { response_format: 'verbose_json' })
    ).json() as Promise<TranscriptionVerboseObject>,
};
