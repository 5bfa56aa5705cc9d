import { fileURLToPath } from 'node:url';
import latin from '@fontsource-variable/inter/unicode.json' with { type: 'json' };
import preact from '@preact/preset-vite';
import subsetFont from 'subset-font';
import { defineConfig, type HtmlTagDescriptor, type Plugin, type Rolldown } from 'vite';

type ChunkingContext = Pick<Rolldown.ChunkingContext, 'getModuleInfo'>;
import { compression } from 'vite-plugin-compression2';

// In development (`npm run dev -w apps/dashboard`) the API runs elsewhere. GRAFT_DEV_API is its URL without /v1.
const api = process.env['GRAFT_DEV_API'] ?? 'http://127.0.0.1:8000';

const POPUPS = /node_modules\/(@base-ui|@floating-ui)\//;
/** Returns whether the frame around all pages needs a module: whether src/main.tsx imports it, directly or not. */
function isOfFrame(id: string, context: ChunkingContext, seen = new Set<string>()): boolean {
  if (id.endsWith('/src/main.tsx')) return true;
  if (seen.has(id)) return false;
  seen.add(id);
  const importers = context.getModuleInfo(id)?.importers ?? [];
  return importers.some((importer) => isOfFrame(importer, context, seen));
}

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

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

const EARLY = 'early';

/** Adds the script that requests the code of the page, before all others. */
const loadEarly: Plugin = {
  name: 'load-early',
  transformIndexHtml: {
    order: 'post',
    handler: (_, { bundle = {} }) =>
      Object.values(bundle)
        .flatMap((file) => (file.type === 'chunk' && file.name === EARLY ? [file] : []))
        .flatMap(({ fileName, imports }): HtmlTagDescriptor[] => [
          {
            tag: 'script',
            attrs: { type: 'module', crossorigin: '', src: `/${fileName}` },
            injectTo: 'head-prepend',
          },
          ...imports.map((file): HtmlTagDescriptor => ({
            tag: 'link',
            attrs: { rel: 'modulepreload', crossorigin: '', href: `/${file}` },
            injectTo: 'head-prepend',
          })),
        ]),
  },
};

export default defineConfig(({ mode }) => ({
  plugins: [
    // Also replaces react and react-dom in the libraries.
    preact(),
    reduceFont,
    preloadFont,
    loadEarly,
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
      input: { index: at('index.html'), [EARLY]: at('src/early.ts') },
      output: {
        codeSplitting: {
          groups: [
            // What src/early.ts needs does not wait for other files.
            { name: 'page-code', test: /page-code|preload-helper/, priority: 3 },
            {
              name: (id, context) => (isOfFrame(id, context) ? 'frame' : null),
              priority: 2,
            },
            // Popups are loaded when the first one opens, however many pages have some.
            { name: 'popups', test: POPUPS, minShareCount: 4, priority: 1 },
            { name: 'shared', minShareCount: 10 },
          ],
        },
      },
    },
  },
  server: { host: '127.0.0.1', proxy: { '/v1': api, '/docs': api, '/healthz': api } },
}));
