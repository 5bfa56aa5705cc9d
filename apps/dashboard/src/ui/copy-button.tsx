import { useState } from 'react';

/** Copies a text. Over plain HTTP browsers give no clipboard, there an older way is left. */
export function CopyButton({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  const done = () => setCopied(true);
  return (
    <button
      type="button"
      className="small"
      aria-label={copied ? `${label}: copied` : label}
      onClick={() =>
        // undefined where the page is not secure, whatever the types say
        (navigator.clipboard as Clipboard | undefined)
          ? void navigator.clipboard
              .writeText(text)
              .then(done, () => copyBySelection(text) && done())
          : copyBySelection(text) && done()
      }
    >
      {copied ? 'Copied' : 'Copy'}
    </button>
  );
}

function copyBySelection(text: string): boolean {
  const area = document.createElement('textarea');
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  return copied;
}
