// Names of files in archives are strangers' words: nothing here is ever unpacked under them, but an archive with a name
// that leaves its folder was made to do harm, or by mistake.
import { MAX_ARCHIVE_FILES } from '@graft/contracts';
import type { ArchiveEntry } from './archive-entries.js';
import type { ArchiveProblems } from './archive-problems.js';

const MOST_CHARACTERS = 1024;

/** Why a name is none for a file inside the archive, or null. */
export function nameProblem(name: string): string | null {
  if (name === '') return 'it has no name';
  if (name.length > MOST_CHARACTERS) return `its name is longer than ${MOST_CHARACTERS} characters`;
  if (/\p{Cc}/u.test(name)) return 'its name has control characters';
  if (/^([\\/]|[a-z]:)/i.test(name)) return 'its name is absolute';
  if (name.split(/[\\/]/).includes('..')) return 'its name leaves the folder';
  return null;
}

/** One spelling for all ways to write a name; macOS takes accents apart. */
export const plainName = (name: string): string =>
  name
    .normalize('NFC')
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');

/**
 * The files whose names are in order, by their plain names. What is wrong with the others, and which are there twice,
 * goes to `problems`.
 * @throws Error for more files than an archive may have
 */
export async function namedFiles(
  entries: AsyncIterable<ArchiveEntry>,
  problems: ArchiveProblems,
): Promise<Map<string, ArchiveEntry>> {
  const files = new Map<string, ArchiveEntry>();
  /** Names as file systems that do not tell case apart have them. */
  const folded = new Map<string, string>();
  let count = 0;
  for await (const entry of entries) {
    if (++count > MAX_ARCHIVE_FILES)
      throw new Error(`it has more than ${MAX_ARCHIVE_FILES.toLocaleString('en')} files`);
    const reason = nameProblem(entry.name) ?? entry.refused;
    if (reason !== null) {
      problems.add(entry.name, reason);
      continue;
    }
    if (entry.isFolder) continue;
    const name = plainName(entry.name);
    const fold = name.toLowerCase();
    const other = folded.get(fold);
    if (other !== undefined)
      problems.add(
        entry.name,
        other === name ? 'it is there twice' : 'its name differs from another’s by case alone',
      );
    else {
      folded.set(fold, name);
      files.set(name, entry);
    }
  }
  return files;
}
