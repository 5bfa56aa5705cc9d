import latin from '@fontsource-variable/inter/unicode.json' with { type: 'json' };
import preact from '@preact/preset-vite';
import subsetFont from 'subset-font';
import { defineConfig, type Plugin } from 'vite';
import { compression } from 'vite-plugin-compression2';

// In development (`npm run dev -w apps/dashboard`) the API runs elsewhere. GRAFT_DEV_API is its URL without /v1.
const api = process.env['GRAFT_DEV_API'] ?? 'http://127.0.0.1:8000';

const LATIN_FONT = /inter-latin-wght-normal.*\.woff2$/;

/** Characters of a CSS unicode-range, such as U+0000-00FF,U+0131. */
function charactersOf(range: string): string {
  const points = range.split(',').flatMap((part) => {
    const [first = 0, last = first] = part
      .replace('U+', '')
      .split('-')
      .map((digits) => Number.parseInt(digits, 16));
    return Array.from({ length: last - first + 1 }, (_, n) => first + n);
  });
  return String.fromCodePoint(...points);
}

/** Removes from the Latin font the weights that the design does not use: a third of its size. */
const reduceFont: Plugin = {
  name: 'reduce-font',
  apply: 'build',
  async generateBundle(_, bundle) {
    for (const [file, asset] of Object.entries(bundle)) {
      if (asset.type !== 'asset' || !LATIN_FONT.test(file)) continue;
      asset.source = await subsetFont(Buffer.from(asset.source), charactersOf(latin.latin), {
        targetFormat: 'woff2',
        variationAxes: { wght: { min: 400, max: 600 } },
      });
    }
  },
};

/** Loads the Latin font together with the first script, so that no text changes its width later. */
const preloadFont: Plugin = {
  name: 'preload-font',
  transformIndexHtml: {
    order: 'post',
    handler: (_, { bundle = {} }) =>
      Object.keys(bundle)
        .filter((file) => LATIN_FONT.test(file))
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
    // Also replaces react and react-dom in the libraries.
    preact(),
    reduceFont,
    preloadFont,
    // The API sends these files to browsers that accept Brotli.
    ...(mode === 'production'
      ? [compression({ algorithms: ['brotliCompress'], include: /\.(js|css|svg)$/ })]
      : []),
  ],
  // The gallery of components is part of development builds and of `--mode gallery`, which tests use.
  define: { __GALLERY__: JSON.stringify(mode !== 'production') },
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    sourcemap: true,
    // in kB; compressed, it is about a third of that
    chunkSizeWarningLimit: 750,
    // Modules that most pages need form one file. By default, each combination of pages has its own file,
    // and the headers of 30 small files weigh more than their contents.
    rolldownOptions: {
      output: { codeSplitting: { groups: [{ name: 'shared', minShareCount: 10 }] } },
    },
  },
  server: { host: '127.0.0.1', proxy: { '/v1': api, '/docs': api, '/healthz': api } },
}));
