import { statSync } from 'node:fs';
import { MAX_MEDIA_BYTES } from '@graft/contracts';
import { decodeAudio, decodePictures } from '@graft/peft-core/media';
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

/** Decoded together. */
const BATCH = { files: 64, bytes: 32 * 2 ** 20 };

interface Media {
  readonly medium: Medium;
  readonly type: string;
  readonly content: Buffer;
}

interface Loaded {
  readonly example: MediaExample;
  /** Or why there is none. */
  readonly media: Media | string;
}

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
      for await (const batch of this.batches(examples)) {
        yield* this.checked(batch);
        if (problems.full) break;
      }
      this.notes = notes;
    } finally {
      await archive.close();
    }
    if (!problems.none) throw new Error(problems.sentence());
  }

  /** Files as they lie in the archive, as many together as memory is for. */
  private async *batches(examples: readonly MediaExample[]): AsyncGenerator<Loaded[]> {
    let batch: Loaded[] = [];
    let bytes = 0;
    for (const example of examples) {
      const media = await this.load(example);
      batch.push({ example, media });
      bytes += typeof media === 'string' ? 0 : media.content.length;
      if (batch.length < BATCH.files && bytes < BATCH.bytes) continue;
      yield batch;
      [batch, bytes] = [[], 0];
    }
    yield batch;
  }

  /** What can be decoded, as records. */
  private *checked(batch: readonly Loaded[]): Generator<object> {
    const { problems } = this;
    const undecoded = decodingProblems(batch.map(({ media }) => media));
    for (const [i, { example, media }] of batch.entries()) {
      const problem = typeof media === 'string' ? media : (undecoded.get(i) ?? null);
      if (problem !== null) problems.add(example.name, problem);
      if (typeof media === 'string' || !problems.none) continue;
      const url = `data:${media.type};base64,${media.content.toString('base64')}`;
      yield { [media.medium]: url, ...example.answers };
    }
  }

  /** One file, or why it is not to be used. */
  private async load({ entry }: MediaExample): Promise<Media | string> {
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
    return { medium, type, content };
  }
}

/** Why some cannot be decoded, by their places. */
function decodingProblems(batch: readonly (Media | string)[]): ReadonlyMap<number, string> {
  const found = new Map<number, string>();
  const pictures: [place: number, content: Buffer][] = [];
  for (const [place, media] of batch.entries()) {
    if (typeof media === 'string') continue;
    if (media.medium === 'image') pictures.push([place, media.content]);
    else
      try {
        decodeAudio(media.content);
      } catch (error) {
        found.set(place, (error as Error).message);
      }
  }
  decodePictures(
    pictures.map(([, content]) => content),
    (i, picture) => {
      if (typeof picture === 'string') found.set((pictures[i] as [number, Buffer])[0], picture);
    },
  );
  return found;
}
