import react from '@vitejs/plugin-react';
import { defineConfig, type Plugin } from 'vite';
import { compression } from 'vite-plugin-compression2';

// In development (`npm run dev -w apps/dashboard`) the API runs elsewhere. GRAFT_DEV_API is its URL without /v1.
const api = process.env['GRAFT_DEV_API'] ?? 'http://127.0.0.1:8000';

/** Loads the Latin font together with the first script, so that no text changes its width later. */
const preloadFont: Plugin = {
  name: 'preload-font',
  transformIndexHtml: {
    order: 'post',
    handler: (_, { bundle = {} }) =>
      Object.keys(bundle)
        .filter((file) => /inter-latin-wght-normal.*\.woff2$/.test(file))
        .map((file) => ({
          tag: 'link',
          attrs: {
            rel: 'preload',
            as: 'font',
            type: 'font/woff2',
            crossorigin: '',
            href: `/${file}`,
          },
          injectTo: 'head' as const,
        })),
  },
};

export default defineConfig(({ mode }) => ({
  plugins: [
    react(),
    preloadFont,
    // The API sends these files to browsers that accept Brotli.
    ...(mode === 'production'
      ? [compression({ algorithms: ['brotliCompress'], include: /\.(js|css|svg)$/ })]
      : []),
  ],
  // The gallery of components is part of development builds and of `--mode gallery`, which tests use.
  define: { __GALLERY__: JSON.stringify(mode !== 'production') },
  // in kB; compressed, it is about a third of that
  build: { outDir: 'dist', emptyOutDir: true, sourcemap: true, chunkSizeWarningLimit: 750 },
  server: { host: '127.0.0.1', proxy: { '/v1': api, '/docs': api, '/healthz': api } },
}));
