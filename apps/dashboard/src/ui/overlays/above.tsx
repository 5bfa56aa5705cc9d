import { CSPProvider } from '@base-ui/react/csp-provider';
import type { ReactNode } from 'react';
import { Confirmations } from './confirm.js';
import { Tips } from './tip.js';
import { Toasts } from './toasts.js';

/**
 * Providers of dialogs, toasts and tooltips, which are shown above the page. Inline style elements
 * are disabled; all styles come from the style sheet.
 */
export const Above = ({ children }: { children: ReactNode }) => (
  <CSPProvider disableStyleElements>
    <Toasts>
      <Confirmations>{children}</Confirmations>
    </Toasts>
    <Tips />
  </CSPProvider>
);
