import { useState } from 'react';

/**
 * Button that copies a text. Browsers provide no clipboard over plain HTTP, so an older method is
 * the fallback.
 */
export function CopyButton({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  const done = () => setCopied(true);
  return (
    <button
      type="button"
      className="small"
      aria-label={copied ? `${label}: copied` : label}
      onClick={() =>
        // Undefined in insecure contexts, despite the types.
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
