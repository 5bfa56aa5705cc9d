// Uploads of whole files and of files in parts, over connections that break. Some are never finished.
import { createHash, randomUUID } from 'node:crypto';
import type { UploadObject, UploadPartObject } from '@graft/contracts';
import type { Violation } from '../checker.js';
import { cut } from '../cut.js';
import { ask, insist, isRefusal, pause, post, type Kind, type Place } from './kind.js';

const PARTS = 3;
const LINES = 900;

/** Upload under one file name, and its result. */
export interface Sent {
  readonly filename: string;
  readonly sha256: string;
  readonly bytes: number;
  /**
   * `finished`: the API confirmed it. `unfinished`: the client never sent everything. `unknown`: it sent
   * everything and received no confirmation.
   */
  readonly outcome: 'finished' | 'unfinished' | 'unknown';
  /** Id of the file in the API's response. */
  readonly id: string | null;
  /** Maximum number of files: 1 for an upload in parts, otherwise the number of complete requests. */
  readonly times: number;
}

interface FileRow {
  readonly id: string;
  readonly filename: string;
  readonly sha256: string;
  readonly bytes: number;
}

export interface UploadEvidence {
  readonly sent: readonly Sent[];
  readonly files: readonly FileRow[];
}

/** Each file has the bytes that were sent. Each finished upload is a file; no unfinished one is. */
export function* checkUploads({
  sent,
  files,
}: UploadEvidence): Generator<[subject: string, what: string]> {
  for (const { filename, sha256, bytes, outcome, id, times } of sent) {
    const own = files.filter((file) => file.filename === filename);
    for (const file of own)
      if (file.sha256 !== sha256 || file.bytes !== bytes)
        yield [file.id, `${filename} has ${file.bytes} bytes ${file.sha256}, not ${bytes} bytes ${sha256}`]; // prettier-ignore
    if (outcome === 'unfinished' && own.length > 0)
      yield [filename, `was not finished, but is ${own.length} files`];
    if (own.length > times) yield [filename, `is ${own.length} files after ${times} requests`];
    if (outcome === 'finished' && !own.some((file) => file.id === id))
      yield [filename, `was acknowledged as ${id}, but is missing`];
  }
}

export class Uploads implements Kind {
  readonly name = 'uploads';
  private readonly sent: Sent[] = [];

  async act(place: Place): Promise<void> {
    const filename = `upload-${randomUUID()}.jsonl`;
    const text = chats(filename);
    const sha256 = createHash('sha256').update(text).digest('hex');
    const known = { filename, sha256, bytes: text.length };
    const came =
      place.random.next() < 0.6 ? inParts(place, known, text) : whole(place, known, text);
    this.sent.push({ ...known, ...(await came) });
  }

  open(): Promise<string[]> {
    return Promise.resolve([]);
  }

  async look({ cluster }: Place): Promise<Violation[]> {
    const files = await cluster.query<FileRow>(
      `SELECT id, filename, sha256, bytes::float8 AS bytes FROM file WHERE filename LIKE 'upload-%'`,
    );
    return [...checkUploads({ sent: this.sent, files })].map(([subject, what]) => ({
      invariant: 'I19',
      subject,
      what,
    }));
  }

  counts(): Record<string, number> {
    const count = (wanted: Sent['outcome']): number =>
      this.sent.filter(({ outcome }) => outcome === wanted).length;
    return {
      'uploads finished': count('finished'),
      'uploads unfinished': count('unfinished'),
      'uploads unknown': count('unknown'),
    };
  }
}

type Known = Pick<Sent, 'filename' | 'bytes'>;
type Came = Pick<Sent, 'outcome' | 'id' | 'times'>;
const UNFINISHED: Came = { outcome: 'unfinished', id: null, times: 0 };

/** Training data that no other file contains. */
function chats(token: string): string {
  const line = (n: number): string =>
    JSON.stringify({
      messages: [
        { role: 'user', content: `${token} ${n}` },
        { role: 'assistant', content: `${n}` },
      ],
    });
  return `${Array.from({ length: LINES }, (_, n) => line(n)).join('\n')}\n`;
}

async function whole(place: Place, { filename }: Known, text: string): Promise<Came> {
  if (place.random.next() < 0.3) {
    const file = { name: 'file', filename, content: text };
    await cut(place, '/files', { purpose: 'fine-tune' }, [file]);
    return UNFINISHED;
  }
  for (let times = 1; times <= 6; times++) {
    const body = new FormData();
    body.set('purpose', 'fine-tune');
    body.set('file', new File([text], filename));
    try {
      const { id = null } = await ask(place, { method: 'POST', path: '/files', body });
      return { outcome: 'finished', id, times };
    } catch (error) {
      if (isRefusal(error)) throw error;
    }
    await pause(500);
  }
  return { outcome: 'unknown', id: null, times: 6 };
}

async function inParts(place: Place, { filename, bytes }: Known, text: string): Promise<Came> {
  const { random } = place;
  const body = { bytes, filename, mime_type: 'application/jsonl', purpose: 'fine-tune' };
  const upload = await insist<UploadObject>(place, { method: 'POST', path: '/uploads', body });
  if (upload === null) return UNFINISHED;
  const path = `/uploads/${upload.id}`;
  const ids: string[] = [];
  const size = Math.ceil(bytes / PARTS);
  for (let at = 0; at < bytes; at += size) {
    const part = text.slice(at, at + size);
    if (random.next() < 0.3)
      await cut(place, `${path}/parts`, {}, [{ name: 'data', filename: 'part', content: part }]);
    const data = new FormData();
    data.set('data', new File([part], 'part'));
    const request = { method: 'POST', path: `${path}/parts`, body: data };
    const uploaded = await insist<UploadPartObject>(place, request);
    if (uploaded === null || random.next() < 0.05) return UNFINISHED;
    ids.push(uploaded.id);
  }
  if (random.next() < 0.1) {
    await post(place, `${path}/cancel`, {}).catch(() => undefined);
    return UNFINISHED;
  }
  return complete(place, path, ids);
}

/**
 * Completes an upload. Sometimes sends the request to both API processes, like a client that retries after a
 * timeout.
 */
async function complete(place: Place, path: string, part_ids: readonly string[]): Promise<Came> {
  const request = { method: 'POST', path: `${path}/complete`, body: { part_ids } };
  const urls = place.cluster.apis.map(({ url }) => url);
  const chosen = place.random.next() < 0.4 ? urls : [undefined];
  const answers = await Promise.all(
    chosen.map((url) => insist<UploadObject>(place, { ...request, ...(url && { url }) })),
  );
  const done = answers.find((answer) => answer?.status === 'completed');
  return { outcome: done ? 'finished' : 'unknown', id: done?.file?.id ?? null, times: 1 };
}
