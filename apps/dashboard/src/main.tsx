import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './app.js';
import { ErrorBoundary } from './components/error-boundary.js';
import { shareBetweenTabs, takeKeyFromAddress } from './session.js';
import './styles.css';

takeKeyFromAddress();
addEventListener('hashchange', takeKeyFromAddress);
shareBetweenTabs();
const root = document.getElementById('root');
if (!root) throw new Error('index.html has no #root');
createRoot(root).render(
  <StrictMode>
    <ErrorBoundary>
      <App />
    </ErrorBoundary>
  </StrictMode>,
);
