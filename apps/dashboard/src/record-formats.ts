import type { Catalog, RecordFormatDescription } from '@graft/contracts';
import { createContext, useEffect, useState } from 'react';
import { api } from './api.js';
import { onBack } from './contact.js';

/** Forms of training data that this server knows; none until it has said so. */
export const RecordFormats = createContext<readonly RecordFormatDescription[]>([]);

/** Asks for the formats once a session. */
export function useRecordFormats(session: string): readonly RecordFormatDescription[] {
  const [formats, setFormats] = useState<readonly RecordFormatDescription[]>([]);
  useEffect(() => {
    let left = false;
    const ask = () =>
      void api.catalog().then(
        (catalog) => left || setFormats(formatsOf(catalog)),
        () => undefined,
      );
    if (session === 'in') ask();
    const unlisten = onBack(() => session === 'in' && ask());
    return () => {
      left = true;
      unlisten();
    };
  }, [session]);
  return formats;
}

/** Those of all tasks, each once. */
export const formatsOf = ({
  tasks,
}: Pick<Catalog, 'tasks'>): readonly RecordFormatDescription[] => [
  ...new Map(
    tasks.flatMap(({ record_formats: formats }) => formats.map((format) => [format.name, format])),
  ).values(),
];

/** "chats, plain texts or preferences" */
export function namesOf(formats: readonly RecordFormatDescription[]): string {
  const names = formats.map(({ nouns: [, many] }) => many);
  const last = names.pop() ?? 'examples';
  return names.length > 0 ? `${names.join(', ')} or ${last}` : last;
}
