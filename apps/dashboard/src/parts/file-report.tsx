import type { FileObject } from '@graft/contracts';

/** "line 3: …; line 9: …; and 4 more bad lines" as its parts. */
export const reportLines = (details: string): string[] =>
  details.split(/; (?=line \d+: |and \d+ more )/);

/** Why a file cannot be used, line by line, or what is worth knowing about one that can. */
export function FileReport({ file }: { file: FileObject }) {
  if (!file.status_details) return null;
  const lines = reportLines(file.status_details);
  if (file.status !== 'error')
    return (
      <p className="notice">
        {file.filename}: {file.status_details}
      </p>
    );
  return (
    <div className="notice bad" role="alert">
      <b>{file.filename} cannot be used for training</b>
      <ul className="report">
        {lines.map((line) => (
          <li key={line}>{line}</li>
        ))}
      </ul>
    </div>
  );
}
