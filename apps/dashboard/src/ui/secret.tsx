import { CopyButton } from './copy-button.js';

/** A secret is shown when it is made and never again. */
export function Secret({ of, secret }: { of: string; secret: string }) {
  return (
    <p className="notice" role="status">
      {of}: <code className="break">{secret}</code> <CopyButton text={secret} label="Copy secret" />
      <br />
      Save it now; it will not be shown again.
    </p>
  );
}
