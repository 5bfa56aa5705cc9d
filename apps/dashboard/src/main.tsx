import { RouterProvider } from '@tanstack/react-router';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { ErrorBoundary } from './shell/error-boundary.js';
import { Answers } from './api/loaded.js';
import { fetchPages, router } from './router.js';
import { shareBetweenTabs, takeKeyFromAddress } from './api/session.js';
import './styles.css';

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
addEventListener('load', () => setTimeout(fetchPages, 1000));
