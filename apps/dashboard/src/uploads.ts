import type { FileObject } from '@graft/contracts';
import { useRef, useState } from 'react';
import { api, ApiError } from './api.js';

/** Endings of what can be read as training data. */
export const ACCEPTED = '.jsonl,.json,.csv,.tsv,.parquet,.arrow,.zip,.tar,.tgz,.gz';

type Columns = Readonly<Record<string, string>>;

/** A table whose upload waits for somebody to say which column is what. */
export interface AskedTable {
  readonly file: File;
  readonly names: readonly string[];
}

/** Uploads one file after the other; keeps what came of each. What is asked for meanwhile is not taken. */
export function useUploads(onDone: () => void) {
  const [error, setError] = useState<Error | null>(null);
  const [busy, setBusy] = useState<string | null>(null);
  const [fresh, setFresh] = useState<readonly FileObject[]>([]);
  const [tables, setTables] = useState<readonly AskedTable[]>([]);

  const send = async (file: File, columns?: Columns) => {
    setBusy(file.name);
    try {
      const made = await api.upload(file, columns);
      setFresh((now) => [...now, made]);
    } catch (failure) {
      const names = failure instanceof ApiError ? failure.columns : null;
      if (names) setTables((now) => [...now, { file, names }]);
      else setError(failure as Error);
    }
  };
  const working = useRef(false);
  const alone = async (work: () => Promise<void>) => {
    if (working.current) return;
    working.current = true;
    setError(null);
    await work();
    working.current = false;
    setBusy(null);
    onDone();
  };
  const upload = (chosen: readonly File[]) =>
    alone(async () => {
      setFresh([]);
      setTables([]);
      for (const file of chosen) await send(file);
    });
  const leave = (table: AskedTable) => setTables((now) => now.filter((other) => other !== table));
  const pick = (table: AskedTable, columns: Columns) =>
    alone(async () => {
      leave(table);
      await send(table.file, columns);
    });
  return { error, setError, busy, fresh, tables, upload, leave, pick };
}
