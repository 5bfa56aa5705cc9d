import { Check, Copy as CopyImage } from 'lucide-react';
import { useState } from 'react';
import { IconButton } from '../ui/controls/button.js';
import { copyText } from '../ui/controls/copy-button.js';

/** A small button that copies a text. */
export function Copy({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  return (
    <IconButton
      size="s"
      className="small"
      label={copied ? 'Copied' : label}
      icon={copied ? <Check /> : <CopyImage />}
      onClick={() => void copyText(text).then(setCopied)}
    />
  );
}
