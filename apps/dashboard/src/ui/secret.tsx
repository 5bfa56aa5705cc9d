import { CopyButton } from './controls/copy-button.js';

/** Secret that is shown only once, after its creation. */
export function Secret({ of, secret }: { of: string; secret: string }) {
  return (
    <p className="notice" role="status">
      {of}: <code className="break">{secret}</code> <CopyButton text={secret} label="Copy secret" />
      <br />
      Save it now; it will not be shown again.
    </p>
  );
}
