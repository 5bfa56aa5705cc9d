import { statSync } from 'node:fs';
import { MAX_MEDIA_BYTES } from '@graft/contracts';
import { decodeAudio, decodePictures } from '@graft/peft-core/media';
import { namedFiles } from './archive-names.js';
import { ArchiveProblems } from './archive-problems.js';
import { mediaFolder, type MediaExample, type MediaFile } from './media-folder.js';
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
  readonly file: MediaFile;
  /** Or why there is none. */
  readonly media: Media | string;
}

interface LoadedExample {
  readonly files: readonly Loaded[];
  readonly answers: MediaExample['answers'];
}

/**
 * The records of an archive of pictures or sounds, `{"image":"data:image/png;base64,…","label":"cat"}`, or of those that
 * belong together, `{"anchor":"data:image/png;base64,…","positive":"data:…"}`.
 */
export class MediaRecords {
  /** What people should know of it, once its records have passed. */
  notes: readonly string[] = [];
  /** The first one's; a data set is of one kind. */
  private medium: Medium | null = null;
  private readonly problems = new ArchiveProblems();
  /** Names of those that can be decoded: one of several rows is looked at once. */
  private readonly decoded = new Set<string>();

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
      const within = unpackedWithin(statSync(path).size);
      within(total([...files.values()]));
      const { examples, notes } = await mediaFolder(files, problems).catch((error: Error) => {
        // what its files lack may be among those that were refused
        throw problems.none ? error : new Error(problems.sentence());
      });
      // rows may name a file any number of times
      within(total(examples.flatMap((one) => one.files.map(({ entry }) => entry))));
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
  private async *batches(examples: readonly MediaExample[]): AsyncGenerator<LoadedExample[]> {
    let batch: LoadedExample[] = [];
    let [count, bytes] = [0, 0];
    for (const { files, answers } of examples) {
      const loaded: Loaded[] = [];
      for (const file of files) loaded.push({ file, media: await this.load(file) });
      batch.push({ files: loaded, answers });
      count += loaded.length;
      bytes += loaded.reduce((sum, { media }) => sum + (typeof media === 'string' ? 0 : media.content.length), 0); // prettier-ignore
      if (count < BATCH.files && bytes < BATCH.bytes) continue;
      yield batch;
      [batch, count, bytes] = [[], 0, 0];
    }
    yield batch;
  }

  /** What can be decoded, as records. */
  private *checked(batch: readonly LoadedExample[]): Generator<object> {
    const { problems, decoded } = this;
    const all = new Map(batch.flatMap(({ files }) => files.map((one) => [one.file.name, one])));
    const unseen = [...all.values()].filter(({ file }) => !decoded.has(file.name));
    const undecoded = decodingProblems(unseen.map(({ media }) => media));
    for (const [i, { file, media }] of unseen.entries()) {
      const problem = typeof media === 'string' ? media : (undecoded.get(i) ?? null);
      if (problem !== null) problems.add(file.name, problem);
      // one that cannot be is told once, too
      decoded.add(file.name);
    }
    for (const { files, answers } of problems.none ? batch : []) {
      const media = files.map((one) => [one.file.key, one.media as Media] as const);
      yield Object.fromEntries([
        ...media.map(([key, one]) => [key ?? one.medium, urlOf(one)]),
        ...Object.entries(answers),
      ]);
    }
  }

  /** One file, or why it is not to be used. */
  private async load({ entry }: MediaFile): Promise<Media | string> {
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

const total = (entries: readonly { readonly size: number }[]): number =>
  entries.reduce((sum, { size }) => sum + size, 0);

const urlOf = ({ type, content }: Media): string =>
  `data:${type};base64,${content.toString('base64')}`;

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
