// Checks names of files in archives, which are untrusted. Files are never unpacked under these names, but a name that
// leaves its folder is malicious or a mistake.
import { MAX_ARCHIVE_FILES } from '@graft/contracts';
import type { ArchiveEntry } from './archive-entries.js';
import type { ArchiveProblems } from './archive-problems.js';

const MOST_CHARACTERS = 1024;

/** Returns why a name is invalid for a file inside the archive, or null. */
export function nameProblem(name: string): string | null {
  if (name === '') return 'it has no name';
  if (name.length > MOST_CHARACTERS) return `its name is longer than ${MOST_CHARACTERS} characters`;
  if (/\p{Cc}/u.test(name)) return 'its name has control characters';
  if (/^([\\/]|[a-z]:)/i.test(name)) return 'its name is absolute';
  if (name.split(/[\\/]/).includes('..')) return 'its name leaves the folder';
  return null;
}

/** Normalizes a name to one spelling. macOS decomposes accents. */
export const normalizedName = (name: string): string =>
  name
    .normalize('NFC')
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');

/**
 * Returns the files with valid names by their normalized names. Problems of the others, including duplicates, are
 * added to `problems`.
 * @throws Error if the archive has too many files
 */
export async function namedFiles(
  entries: AsyncIterable<ArchiveEntry>,
  problems: ArchiveProblems,
): Promise<Map<string, ArchiveEntry>> {
  const files = new Map<string, ArchiveEntry>();
  /** Names as on file systems that ignore case. */
  const folded = new Map<string, string>();
  let count = 0;
  for await (const entry of entries) {
    if (++count > MAX_ARCHIVE_FILES)
      throw new Error(`it has more than ${MAX_ARCHIVE_FILES.toLocaleString('en')} files`);
    const reason = nameProblem(entry.name) ?? entry.problem;
    if (reason !== null) {
      problems.add(entry.name, reason);
      continue;
    }
    if (entry.isFolder) continue;
    const name = normalizedName(entry.name);
    const fold = name.toLowerCase();
    const other = folded.get(fold);
    if (other !== undefined)
      problems.add(
        entry.name,
        other === name ? 'it occurs twice' : 'its name differs from another only in case',
      );
    else {
      folded.set(fold, name);
      files.set(name, entry);
    }
  }
  return files;
}
