import { RouterProvider } from '@tanstack/react-router';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { applyTheme } from './browser/theme.js';
import { ErrorBoundary } from './shell/error-boundary.js';
import { Answers } from './api/loaded.js';
import { router } from './router.js';
import { shareBetweenTabs, takeKeyFromAddress } from './api/session.js';
import './styles.css';

applyTheme();
takeKeyFromAddress();
addEventListener('hashchange', takeKeyFromAddress);
shareBetweenTabs();
const root = document.getElementById('root');
if (!root) throw new Error('index.html has no #root');
createRoot(root).render(
  <StrictMode>
    <ErrorBoundary>
      <Answers>
        <RouterProvider router={router} />
      </Answers>
    </ErrorBoundary>
  </StrictMode>,
);
