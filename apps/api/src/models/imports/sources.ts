import { DomainError } from '@graft/contracts';
import { downloadFile, listFiles } from '@huggingface/hub';
import { createReadStream } from 'node:fs';
import { lstat, readdir, realpath, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';

/** File that an import copies into the blob store. */
export interface SourceFile {
  readonly name: string;
  readonly size: number;
  open(): Promise<AsyncIterable<Buffer>>;
}

/** Files of a base model. Never a pickle, never code. */
const WANTED =
  /^(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|(?:pre)?processor_config|model\.safetensors\.index)\.json$|^(merges\.txt|tokenizer\.model|chat_template\.(jinja|json)|LICENSE(\.(md|txt))?)$|\.safetensors$|\.gguf$/;

const REPOSITORY = /^[\w.-]{1,96}\/[\w.-]{1,96}$/;

/**
 * Returns a source as `hub:Org/Name` or `dir:/path`. Also accepts what users paste: an address of the hub, `Org/Name`, or
 * a path.
 * @throws DomainError if it is none of them
 */
export function normalizedSource(given: string, hubUrl: string): string {
  const source = given.trim();
  const [, kind, rest = ''] = /^(dir|hub):(.+)$/s.exec(source) ?? [];
  if (kind === 'dir') return source;
  if (kind === undefined && /^(\/|\.{1,2}\/)/.test(source)) return `dir:${source}`;
  const name = kind === 'hub' ? rest : source;
  const repository = repositoryOf(name, hubUrl) ?? name;
  if (REPOSITORY.test(repository)) return `hub:${repository}`;
  throw new DomainError(
    'invalid_value',
    `source: expected hub:Org/Name, an address of a model on the hub, or the path of a folder or .gguf file on the server, got ${JSON.stringify(given.slice(0, 100))}`,
    'source',
  );
}

/** Returns the repository of an address such as https://huggingface.co/Org/Name/tree/main; null if it is none. */
function repositoryOf(source: string, hubUrl: string): string | null {
  const address = /^(huggingface\.co|hf\.co)\//.test(source) ? `https://${source}` : source;
  if (!/^https?:\/\//i.test(address) || !URL.canParse(address)) return null;
  const { host, pathname } = new URL(address);
  if (!['huggingface.co', 'www.huggingface.co', 'hf.co', new URL(hubUrl).host].includes(host))
    return null;
  const [owner, name] = pathname.split('/').filter(Boolean);
  return owner !== undefined && name !== undefined ? `${owner}/${name}` : null;
}

/** Lists the files of `dir:/path` (a Hugging Face folder or a .gguf file) or `hub:Org/Name`. */
export async function sourceFiles(source: string, hubUrl: string): Promise<SourceFile[]> {
  const [, kind, name = ''] = /^(dir|hub):(.+)$/s.exec(source) ?? [];
  if (kind === 'dir') return localFiles(name);
  if (kind === 'hub') return hubFiles(name, hubUrl);
  throw new DomainError(
    'invalid_value',
    `source must be hub:Org/Name or dir:/path (got ${JSON.stringify(source.slice(0, 100))})`,
    'source',
  );
}

/** PEFT's base_model_name_or_path of a base: its name on the hub or its path. Otherwise, its ID in Graft. */
export function nameOrPath({
  id,
  source,
}: {
  readonly id: string;
  readonly source: string | null;
}): string {
  const [, kind, name = ''] = /^(dir|hub):(.+)$/s.exec(source ?? '') ?? [];
  if (kind === 'dir') return resolve(name);
  return kind === 'hub' ? name : id;
}

/** Name of a model if the user gives none. */
export function defaultId(source: string): string {
  const name = source.replace(/^(dir|hub):/, '').replace(/\/+$/, '');
  return source.startsWith('hub:') ? name : basename(name).replace(/\.gguf$/i, '');
}

async function localFiles(path: string): Promise<SourceFile[]> {
  const entry = await stat(path).catch(() => null);
  if (!entry)
    throw new DomainError('invalid_model', `${path} does not exist on the server`, 'source');
  const files = await filesIn(path, entry.isDirectory()).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  if (files.length === 0)
    throw new DomainError(
      'invalid_model',
      `${path} contains no model files (config.json with *.safetensors, or a .gguf)`,
      'source',
    );
  return files;
}

async function filesIn(path: string, isFolder: boolean): Promise<SourceFile[]> {
  const names = isFolder ? await readdir(path) : [basename(path)];
  const files: SourceFile[] = [];
  for (const name of names.filter((candidate) => WANTED.test(candidate)).sort()) {
    // The hub's cache folder consists of links to its blobs, so links are followed, but only to files.
    const target = await realpath(isFolder ? join(path, name) : path);
    const found = await lstat(target);
    if (found.isFile())
      files.push({ name, size: found.size, open: async () => localChunks(target) });
  }
  return files;
}

/**
 * @throws DomainError that names the file, because a system error would count as an outage of Graft's storage
 */
async function* localChunks(path: string): AsyncGenerator<Buffer> {
  try {
    yield* createReadStream(path) as AsyncIterable<Buffer>;
  } catch (error) {
    throw unreadable(path, error);
  }
}

const unreadable = (path: string, error: unknown): DomainError =>
  new DomainError('invalid_model', `${path} cannot be read: ${(error as Error).message}`, 'source');

async function hubFiles(repo: string, hubUrl: string): Promise<SourceFile[]> {
  if (!REPOSITORY.test(repo)) {
    throw new DomainError(
      'invalid_value',
      `${JSON.stringify(repo.slice(0, 100))} is not a valid repository name; use hub:Org/Name`,
      'source',
    );
  }
  const where = { repo: { type: 'model', name: repo }, hubUrl } as const;
  const files: SourceFile[] = [];
  try {
    for await (const { type, path, size } of listFiles({ ...where, recursive: false })) {
      if (type !== 'file' || !WANTED.test(path)) continue;
      files.push({ name: path, size, open: () => openHubFile(where, path) });
    }
  } catch (error) {
    throw new DomainError('unavailable', hubProblem(repo, hubUrl, error), 'source');
  }
  if (files.length === 0)
    throw new DomainError(
      'invalid_model',
      `${repo} on ${hubUrl} contains no model files`,
      'source',
    );
  return files;
}

function hubProblem(repo: string, hubUrl: string, error: unknown): string {
  const { statusCode, cause, message } = error as Error & { statusCode?: number };
  if (statusCode === 401 || statusCode === 404) return `${hubUrl} has no public repository ${repo}`;
  const { code } = (cause ?? {}) as { code?: string };
  return `cannot reach ${hubUrl}: ${code ?? message}`;
}

async function openHubFile(
  where: { repo: { type: 'model'; name: string }; hubUrl: string },
  path: string,
): Promise<AsyncIterable<Buffer>> {
  const blob = await downloadFile({ ...where, path, xet: false }).catch((error: unknown) => {
    throw new DomainError(
      'unavailable',
      hubProblem(where.repo.name, where.hubUrl, error),
      'source',
    );
  });
  if (!blob) throw new DomainError('invalid_model', `${where.repo.name} has no ${path}`, 'source');
  return chunks(blob.stream() as unknown as AsyncIterable<Uint8Array>, `${where.hubUrl}: ${path}`);
}

/** @throws DomainError that names the incomplete file. The error of fetch is only "terminated". */
async function* chunks(stream: AsyncIterable<Uint8Array>, file: string): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of stream)
      yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  } catch (error) {
    const { message } = error as Error;
    throw new DomainError(
      'unavailable',
      `the download of ${file} broke off (${message}); import the model again`,
    );
  }
}
