import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// In development (`npm run dev -w apps/dashboard`) the API runs elsewhere. GRAFT_DEV_API is its URL without /v1.
const api = process.env['GRAFT_DEV_API'] ?? 'http://127.0.0.1:8000';

export default defineConfig({
  plugins: [react()],
  // in kB; compressed, it is about a third of that
  build: { outDir: 'dist', emptyOutDir: true, sourcemap: true, chunkSizeWarningLimit: 750 },
  server: { host: '127.0.0.1', proxy: { '/v1': api, '/docs': api, '/healthz': api } },
});
