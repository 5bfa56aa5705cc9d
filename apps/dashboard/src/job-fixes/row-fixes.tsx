import { createContext, useContext, useMemo, useState, type ReactNode } from 'react';

/** Fields of a record. */
export type Fields = Readonly<Record<string, unknown>>;

/** Corrected records by line; null removes the record. */
export type Fixes = ReadonlyMap<number, Fields | null>;

interface RowFixing {
  /** File whose rows can be corrected; null if the user may not. */
  readonly file: string | null;
  readonly fixes: Fixes;
  /** Labels to choose from. */
  readonly labels: readonly string[];
  /** Undefined takes a correction back. */
  readonly fix: (line: number, record: Fields | null | undefined) => void;
  readonly clear: () => void;
}

const NONE: Fixes = new Map();
const Fixing = createContext<RowFixing>({
  file: null,
  fixes: NONE,
  labels: [],
  fix: () => undefined,
  clear: () => undefined,
});

/** Returns the corrections of the page, which its lists of examples share. */
export const useRowFixes = (): RowFixing => useContext(Fixing);

interface Props {
  readonly file: string | null;
  readonly labels: readonly string[];
  readonly children: ReactNode;
}

/** Keeps the corrections of a file's rows while the page is open. */
export function RowFixes({ file, labels, children }: Props) {
  const [fixes, setFixes] = useState<Fixes>(NONE);
  const value = useMemo<RowFixing>(
    () => ({
      file,
      labels,
      fixes,
      fix: (line, record) =>
        setFixes((now) => {
          const next = new Map(now);
          if (record === undefined) next.delete(line);
          else next.set(line, record);
          return next;
        }),
      clear: () => setFixes(NONE),
    }),
    [file, labels, fixes],
  );
  return <Fixing value={value}>{children}</Fixing>;
}
