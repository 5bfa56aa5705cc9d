import { CSPProvider } from '@base-ui/react/csp-provider';
import { Tooltip } from '@base-ui/react/tooltip';
import type { ReactNode } from 'react';
import { Confirmations } from './confirm.js';
import { Toasts } from './toasts.js';

/** What pages show above themselves: questions, toasts and tips. Styles come from the style sheet alone. */
export const Above = ({ children }: { children: ReactNode }) => (
  <CSPProvider disableStyleElements>
    <Tooltip.Provider>
      <Toasts>
        <Confirmations>{children}</Confirmations>
      </Toasts>
    </Tooltip.Provider>
  </CSPProvider>
);
