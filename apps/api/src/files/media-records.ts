import { statSync } from 'node:fs';
import { MAX_MEDIA_BYTES } from '@graft/contracts';
import { namedFiles } from './archive-names.js';
import { ArchiveProblems } from './archive-problems.js';
import { mediaFolder, type MediaExample } from './media-folder.js';
import { mediaKind, type Medium } from './media-kinds.js';
import { unpackedWithin } from './packed.js';
import { openTar } from './tar-archive.js';
import { openZip } from './zip-archive.js';

const WORDS = {
  image: { one: 'a picture', many: 'pictures', layout: 'imagefolder' },
  audio: { one: 'a sound', many: 'sounds', layout: 'audiofolder' },
};

/** The records of an archive of pictures or sounds, `{"image":"data:image/png;base64,…","label":"cat"}`. */
export class MediaRecords {
  /** What people should know of it, once its records have passed. */
  notes: readonly string[] = [];
  /** The first one's; a data set is of one kind. */
  private medium: Medium | null = null;
  private readonly problems = new ArchiveProblems();

  constructor(
    private readonly container: 'tar' | 'zip',
    private readonly path: string,
  ) {}

  /** Hugging Face's word for what it was. */
  get layout(): string {
    return WORDS[this.medium ?? 'image'].layout;
  }

  /** @throws Error that names the first problems of its files, once all of them were looked at */
  async *read(): AsyncGenerator<object> {
    const { container, path, problems } = this;
    const archive = await (container === 'zip' ? openZip(path) : openTar(path));
    try {
      const files = await namedFiles(archive.entries(), problems);
      const bytes = [...files.values()].reduce((sum, { size }) => sum + size, 0);
      unpackedWithin(statSync(path).size)(bytes);
      const { examples, notes } = await mediaFolder(files, problems).catch((error: Error) => {
        // what its files lack may be among those that were refused
        throw problems.none ? error : new Error(problems.sentence());
      });
      for (const example of examples) {
        const record = await this.record(example);
        if (typeof record === 'string') problems.add(example.name, record);
        else if (problems.none) yield record;
        if (problems.full) break;
      }
      this.notes = notes;
    } finally {
      await archive.close();
    }
    if (!problems.none) throw new Error(problems.sentence());
  }

  /** Of one file, or why there is none. */
  private async record({ entry, answers }: MediaExample): Promise<object | string> {
    const [size, most] = [entry.size, MAX_MEDIA_BYTES].map((bytes) => bytes.toLocaleString('en'));
    if (entry.size > MAX_MEDIA_BYTES) return `it has ${size} bytes; the limit is ${most}`;
    let content: Buffer;
    try {
      content = await entry.read();
    } catch (error) {
      return `it cannot be unpacked: ${(error as Error).message}`;
    }
    const kind = mediaKind(content);
    if (typeof kind === 'string') return kind;
    const { medium, type } = kind;
    this.medium ??= medium;
    if (medium !== this.medium)
      return `it is ${WORDS[medium].one}, and the files before it are ${WORDS[this.medium].many}`;
    return { [medium]: `data:${type};base64,${content.toString('base64')}`, ...answers };
  }
}
