import { createHash } from 'node:crypto';
import { createReadStream, openAsBlob } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { FileObject, Page } from '@graft/contracts';
import type { Api } from '../client/api.js';
import { CliError } from '../cli-error.js';
import { problemsOf } from '../output/file-card.js';
import { WHOLE_BYTES } from '../client/part-upload.js';
import { uploaded } from '../client/upload.js';
import { fileName, type DataFile, type Found, type Json } from './found.js';
import type { Done } from './outcome.js';

/** Uploads files unless Graft already has one with the same content. */
export class ImportedFiles {
  constructor(
    private readonly api: Api,
    private readonly found: Found,
    private readonly options: { readonly skipMedia: boolean; readonly dryRun: boolean },
  ) {}

  /** @throws CliError if the file is unusable */
  async upload(file: DataFile): Promise<Done> {
    const { path, purpose, media, lines } = file;
    const notes: string[] = [];
    if (media.length > 0) {
      const some = `${media.length} of ${lines} lines have images or audio`;
      if (!this.options.skipMedia || media.length === lines)
        return {
          state: 'no counterpart',
          id: null,
          notes: [
            `${some} (line ${media.slice(0, 5).join(', ')}${media.length > 5 ? ', …' : ''}), which import-openai does not support`,
            ...(media.length === lines ? [] : ['--skip-media imports the other lines']),
          ],
        };
      notes.push(`${some} and are skipped`);
    }
    const content = media.length === 0 ? null : await withoutLines(path, media);
    const sha256 = content ? hashOf(content) : await hashOfFile(path);
    const there = await this.api.get<Page<FileObject>>(
      `/files?sha256=${sha256}&purpose=${purpose}`,
    );
    const found = there.data.find(({ status }) => status !== 'error');
    if (found) return { state: 'there', id: found.id, notes };
    if (this.options.dryRun) return { state: 'made', id: null, notes };
    const blob = content ? new Blob([content]) : await openAsBlob(path);
    const made =
      blob.size > WHOLE_BYTES && purpose === 'fine-tune' && !content
        ? await uploaded(this.api, path, {})
        : await this.api.uploadAs(blob, this.nameOf(file), purpose);
    if (made.status === 'error') {
      await this.api.delete(`/files/${made.id}`);
      throw new CliError(problemsOf(made));
    }
    return { state: 'made', id: made.id, notes: [...notes, ...(made.graft?.warnings ?? [])] };
  }

  /** Name of the file at OpenAI if known, otherwise its local name. */
  private nameOf({ path }: DataFile): string {
    const name = basename(path);
    const [id] = /^file-[A-Za-z0-9]+/.exec(name) ?? [];
    return (id && fileName(this.found, id)) ?? name;
  }

  /** Uploads rows of a run. Returns the file's id, or null in a dry run if it does not exist yet. */
  async content(rows: readonly Json[], name: string): Promise<string | null> {
    const text = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
    const sha256 = hashOf(text);
    const there = await this.api.get<Page<FileObject>>(`/files?sha256=${sha256}&purpose=evals`);
    if (there.data[0]) return there.data[0].id;
    if (this.options.dryRun) return null;
    return (await this.api.uploadAs(new Blob([text]), name, 'evals')).id;
  }
}

export const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex');

async function hashOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function withoutLines(path: string, numbers: readonly number[]): Promise<string> {
  const left = new Set(numbers);
  const lines = (await readFile(path, 'utf8')).split(/\r?\n/);
  return lines
    .filter((line, n) => !left.has(n + 1) && line.trim() !== '')
    .map((line) => `${line}\n`)
    .join('');
}
