import { statSync } from 'node:fs';
import { MAX_MEDIA_BYTES } from '@graft/contracts';
import { decodeAudio, decodeImages } from '@graft/peft-core/media';
import { namedFiles } from './archive-names.js';
import { ArchiveProblems } from './archive-problems.js';
import { mediaFolder, type MediaExample, type MediaFile } from './media-folder.js';
import { mediaKind, type Medium } from './media-kinds.js';
import { unpackedSizeGuard } from './unpacked-size.js';
import { openTar } from './tar-archive.js';
import { openZip } from './zip-archive.js';

const WORDS = {
  image: { one: 'an image', many: 'images', layout: 'imagefolder' },
  audio: { one: 'an audio file', many: 'audio files', layout: 'audiofolder' },
};

/** Limits of the files that are decoded in one batch. */
const BATCH = { files: 64, bytes: 32 * 2 ** 20 };

interface Media {
  readonly medium: Medium;
  readonly type: string;
  readonly content: Buffer;
}

interface Loaded {
  readonly file: MediaFile;
  /** Content of the file, or the reason why there is none. */
  readonly media: Media | string;
}

interface LoadedExample {
  readonly files: readonly Loaded[];
  readonly answers: MediaExample['answers'];
}

/**
 * Records of an archive of images or audio, such as `{"image":"data:image/png;base64,…","label":"cat"}`, or pairs and
 * triplets, such as `{"anchor":"data:image/png;base64,…","positive":"data:…"}`.
 */
export class MediaRecords {
  /** Notes for the user, available after the last record. */
  notes: readonly string[] = [];
  /** Medium of the first file. A dataset has only one. */
  private medium: Medium | null = null;
  private readonly problems = new ArchiveProblems();
  /** Names of files that have been decoded, so that a file in several rows is decoded once. */
  private readonly decoded = new Set<string>();

  constructor(
    private readonly container: 'tar' | 'zip',
    private readonly path: string,
  ) {}

  /** Name of the layout in Hugging Face datasets. */
  get layout(): string {
    return WORDS[this.medium ?? 'image'].layout;
  }

  /**
   * Yields the records.
   * @throws Error with the first problems, after all files have been checked
   */
  async *read(): AsyncGenerator<object> {
    const { container, path, problems } = this;
    const archive = await (container === 'zip' ? openZip(path) : openTar(path));
    try {
      const files = await namedFiles(archive.entries(), problems);
      const within = unpackedSizeGuard(statSync(path).size);
      within(total([...files.values()]));
      const { examples, notes } = await mediaFolder(files, problems).catch((error: Error) => {
        // The cause may be one of the rejected files.
        throw problems.none ? error : new Error(problems.sentence());
      });
      // Rows may list a file any number of times.
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

  /** Loads files in the order of the archive, in batches that fit in memory. */
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

  /** Yields the records of a batch that can be decoded. */
  private *checked(batch: readonly LoadedExample[]): Generator<object> {
    const { problems, decoded } = this;
    const all = new Map(batch.flatMap(({ files }) => files.map((one) => [one.file.name, one])));
    const unseen = [...all.values()].filter(({ file }) => !decoded.has(file.name));
    const undecoded = decodingProblems(unseen.map(({ media }) => media));
    for (const [i, { file, media }] of unseen.entries()) {
      const problem = typeof media === 'string' ? media : (undecoded.get(i) ?? null);
      if (problem !== null) problems.add(file.name, problem);
      // A file that cannot be decoded is reported only once, too.
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

  /** Loads a file, or returns why it cannot be used. */
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
      return `it is ${WORDS[medium].one}, but the files before it are ${WORDS[this.medium].many}`;
    return { medium, type, content };
  }
}

const total = (entries: readonly { readonly size: number }[]): number =>
  entries.reduce((sum, { size }) => sum + size, 0);

const urlOf = ({ type, content }: Media): string =>
  `data:${type};base64,${content.toString('base64')}`;

/** Returns why files of a batch cannot be decoded, by their index. */
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
  decodeImages(
    pictures.map(([, content]) => content),
    (i, picture) => {
      if (typeof picture === 'string') found.set((pictures[i] as [number, Buffer])[0], picture);
    },
  );
  return found;
}
