// Uploads a file in parts (`/v1/uploads`), so that an interruption loses at most one of them.
import type { FileObject, UploadObject, UploadPartObject } from '@graft/contracts';
import { NoAnswer, refusal, request } from '../api/request.js';
import { answered, probe } from '../api/contact.js';
import { keyRefused } from '../api/session.js';

const PART_BYTES = 4 * 1024 * 1024;
/** Maximum number of parts of an upload, set by the API. */
const MOST_PARTS = 10_000;

export type Columns = Readonly<Record<string, string>>;

/** Progress of an upload: bytes sent, or the check of the complete file. */
export interface PartProgress {
  readonly sending: (bytes: number) => void;
  readonly checking: () => void;
}

export class PartUpload {
  private id: string | null = null;
  /** Ids of the uploaded parts, in order. */
  private readonly parts: string[] = [];
  private readonly partBytes: number;

  constructor(
    private readonly file: File,
    /** Key that the upload started with. It is used until the end. */
    private readonly key: string,
    private readonly progress: PartProgress,
  ) {
    this.partBytes = Math.max(PART_BYTES, Math.ceil(file.size / MOST_PARTS));
  }

  /** Number of uploaded parts. */
  get arrived(): number {
    return this.parts.length;
  }

  /**
   * Sends the missing parts and has the file checked. Can be called again after a failure.
   * @param columns assignment of a table's columns, if known
   */
  async send(columns: Columns | null, signal: AbortSignal): Promise<FileObject> {
    if (this.file.size === 0) throw new Error(`${this.file.name} is empty.`);
    this.id ??= (await this.create(signal)).id;
    for (;;) {
      const begin = this.parts.length * this.partBytes;
      if (begin >= this.file.size) break;
      this.progress.sending(begin);
      const data = this.file.slice(begin, begin + this.partBytes);
      const sent = (bytes: number) => this.progress.sending(begin + Math.min(bytes, data.size));
      this.parts.push((await this.sendPart(this.id, data, sent, signal)).id);
    }
    this.progress.checking();
    const body = {
      part_ids: this.parts,
      graft: columns ? { columns } : { ask_columns: true },
    };
    const { file } = await this.post<UploadObject>(`/uploads/${this.id}/complete`, body, signal);
    if (file === null) throw new Error(`${this.file.name} was deleted after its upload.`);
    return file;
  }

  /** Makes the next `send` start over, for example because the upload has expired. */
  forget(): void {
    this.id = null;
    this.parts.length = 0;
  }

  /** Deletes the upload, including the file if it is already complete. */
  async cancel(keepalive = false): Promise<void> {
    if (this.id === null) return;
    const path = `/uploads/${this.id}`;
    await request(`${path}/cancel`, { method: 'POST', keepalive }, this.key).catch(async () => {
      const upload = (await (await request(path, {}, this.key)).json()) as UploadObject;
      if (upload.file) await request(`/files/${upload.file.id}`, { method: 'DELETE' }, this.key);
    });
  }

  private create(signal: AbortSignal): Promise<UploadObject> {
    const { name: filename, size: bytes, type } = this.file;
    const mime_type = type || 'application/octet-stream';
    return this.post('/uploads', { bytes, filename, mime_type, purpose: 'fine-tune' }, signal);
  }

  private async post<T>(path: string, body: object, signal: AbortSignal): Promise<T> {
    const headers = { 'content-type': 'application/json' };
    const init = { method: 'POST', headers, body: JSON.stringify(body), signal };
    return (await request(path, init, this.key)).json() as Promise<T>;
  }

  /** Uses XMLHttpRequest, because fetch does not report upload progress. */
  private sendPart(
    id: string,
    data: Blob,
    sent: (bytes: number) => void,
    signal: AbortSignal,
  ): Promise<UploadPartObject> {
    const form = new FormData();
    form.append('data', data, 'part');
    const { key } = this;
    return new Promise((resolve, reject) => {
      const xhr = new XMLHttpRequest();
      xhr.open('POST', `/v1/uploads/${id}/parts`);
      xhr.setRequestHeader('authorization', `Bearer ${key}`);
      xhr.upload.onprogress = ({ loaded }) => sent(loaded);
      xhr.onabort = () => reject(signal.reason as Error);
      xhr.onerror = () => {
        void probe();
        reject(new NoAnswer({}));
      };
      xhr.onload = () => {
        if (xhr.status < 500) answered();
        if (xhr.status === 401) keyRefused(key);
        if (xhr.status === 200) return resolve(JSON.parse(xhr.responseText) as UploadPartObject);
        const after = xhr.getResponseHeader('retry-after');
        const headers: HeadersInit = after === null ? {} : { 'retry-after': after };
        refusal(new Response(xhr.responseText, { status: xhr.status, headers })).then(
          reject,
          reject,
        );
      };
      if (signal.aborted) return reject(signal.reason as Error);
      signal.addEventListener('abort', () => xhr.abort(), { once: true });
      xhr.send(form);
    });
  }
}
