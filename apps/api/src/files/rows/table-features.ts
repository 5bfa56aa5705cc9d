// Converts columns of Hugging Face datasets for training: class ids to the label names in the schema, and images and
// audio, which are structs of bytes and a path, to data URLs.
import { mediaKind, type Medium } from '../archives/media-kinds.js';
import type { Row } from './rows.js';

/** Features in the schema's metadata under the key "huggingface": JSON with a feature for each column. */
interface Feature {
  readonly _type?: string;
  readonly names?: readonly unknown[];
  /** Feature of the elements of a list. */
  readonly feature?: Feature;
}

export class TableFeatures {
  private readonly names: ReadonlyMap<string, readonly unknown[]>;
  /** The only media column and its key in records; `null` if there is none, or several. */
  private renamed: { readonly from: string; readonly to: Medium } | null | undefined;

  constructor(huggingface: string | undefined) {
    const columns = Object.entries(featuresOf(huggingface));
    this.names = new Map(columns.flatMap(([column, feature]) => named(column, feature)));
  }

  row(row: Row): Row {
    const media = new Map<string, Medium>();
    const entries = Object.entries(row).map(([column, value]) => {
      const names = this.names.get(column);
      if (names) return [column, nameOf(value, names)] as const;
      const found = mediaOf(value);
      if (found === null) return [column, value] as const;
      media.set(column, found.medium);
      return [column, found.url] as const;
    });
    this.renamed ??= renaming(media, row);
    const { from, to } = this.renamed ?? {};
    return Object.fromEntries(
      entries.map(([column, value]) => [column === from && to ? to : column, value]),
    );
  }
}

/** Renames a media column to `image` or `audio`, if it is the only one. */
function renaming(media: ReadonlyMap<string, Medium>, row: Row): TableFeatures['renamed'] {
  const [[from, to] = ['', null], other] = media;
  if (to === null) return undefined;
  return other === undefined && (from === to || !Object.hasOwn(row, to)) ? { from, to } : null;
}

function featuresOf(huggingface: string | undefined): Readonly<Record<string, Feature>> {
  try {
    const { info } = JSON.parse(huggingface ?? '{}') as { info?: { features?: object } };
    return (info?.features ?? {}) as Readonly<Record<string, Feature>>;
  } catch {
    // The table was written by another program.
    return {};
  }
}

function named(column: string, feature: Feature | null): [string, readonly unknown[]][] {
  const { _type: type, names } = feature?.feature ?? feature ?? {};
  return type === 'ClassLabel' && Array.isArray(names) ? [[column, names]] : [];
}

/** Replaces class ids by their names, also in lists. Datasets uses -1 for a missing label. */
function nameOf(value: unknown, names: readonly unknown[]): unknown {
  if (typeof value === 'number' || typeof value === 'bigint')
    return Number(value) < 0 ? null : (names[Number(value)] ?? value);
  const isList = value !== null && typeof value === 'object' && Symbol.iterator in value;
  return isList ? [...(value as Iterable<unknown>)].map((one) => nameOf(one, names)) : value;
}

function mediaOf(value: unknown): { medium: Medium; url: string } | null {
  const bytes = (value as { readonly bytes?: unknown } | null)?.bytes;
  if (!(bytes instanceof Uint8Array)) return null;
  const content = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const kind = mediaKind(content);
  if (typeof kind === 'string') return null;
  return { medium: kind.medium, url: `data:${kind.type};base64,${content.toString('base64')}` };
}
