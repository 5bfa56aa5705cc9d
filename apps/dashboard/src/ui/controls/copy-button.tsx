import { Check, Copy } from 'lucide-react';
import { useState } from 'react';

/**
 * Copies a text. Browsers provide no clipboard over plain HTTP, so an older method is the fallback.
 * Resolves to whether it worked.
 */
export async function copyText(text: string): Promise<boolean> {
  try {
    // Undefined in insecure contexts, despite the types.
    const clipboard = navigator.clipboard as Clipboard | undefined;
    if (!clipboard) return copyBySelection(text);
    await clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** Button that copies a text. */
export function CopyButton({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  return (
    <button
      type="button"
      className="quiet small"
      aria-label={copied ? `${label}: copied` : label}
      onClick={() => void copyText(text).then((done) => done && setCopied(true))}
    >
      {copied ? <Check /> : <Copy />}
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
