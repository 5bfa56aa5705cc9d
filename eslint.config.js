// ESLint: TypeScript's strict rules, size limits, and import restrictions (docs/internals/architecture.md).
import js from '@eslint/js';
import tseslint from 'typescript-eslint';
import { plainEnglish } from './tools/lint/plain-english.mjs';

/** Forbidden imports by project, in addition to the rules in .dependency-cruiser.cjs. */
const PROJECTS = {
  'libs/contracts': ['@graft/*'],
  'libs/kernels': ['@graft/*'],
  'libs/examples': ['@graft/*'],
  'libs/peft-core': [
    '@graft/api',
    '@graft/worker',
    '@graft/cli',
    'bullmq',
    'ioredis',
    '@nestjs/*',
    'typeorm',
    'pg',
    'http',
    'node:http',
    'https',
    'node:https',
    '@grpc/*',
  ],
  'apps/worker': [
    '@graft/api',
    '@graft/cli',
    '@graft/kernels',
    'typeorm',
    'pg',
    'bullmq',
    'ioredis',
    '@nestjs/*',
  ],
  // Gitignore patterns cannot include a child of an excluded folder.
  'apps/api': '^@graft/(kernels|worker|cli|peft-core(?!/catalog$))',
  'apps/cli': ['@graft/*', '!@graft/contracts', '!@graft/examples'],
  'apps/dashboard': ['@graft/*', '!@graft/contracts'],
};

const projects = Object.entries(PROJECTS).map(([folder, never]) => ({
  files: [`${folder}/src/**/*.{ts,tsx}`],
  ignores: ['**/*.spec.{ts,tsx}'],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          {
            ...(Array.isArray(never) ? { group: never } : { regex: never }),
            message: `${folder} must not import this: docs/internals/architecture.md, "Projects"`,
          },
        ],
      },
    ],
  },
}));

// The core accesses files only in io/, data/ and datasets/. Options replace those of the project, so its patterns are
// repeated.
const coreWithoutFiles = {
  files: ['libs/peft-core/src/**/*.ts'],
  ignores: ['libs/peft-core/src/{io,data,datasets}/**', '**/*.spec.ts'],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          {
            group: [...PROJECTS['libs/peft-core'], 'fs', 'node:fs', 'node:fs/*'],
            message: 'only io/, data/ and datasets/ may read and write files',
          },
        ],
      },
    ],
  },
};

// The API's reader process reads data with the tokenizer of a base model (docs/adr/0009). No other part of the API may.
const readerProcess = {
  files: ['apps/api/src/preview/reader-*.ts'],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          {
            regex: '^@graft/(kernels|worker|cli|peft-core(?!/data$))',
            message: 'the reader process may import only peft-core/data and contracts',
          },
        ],
      },
    ],
  },
};

// The API's archive process decodes images and audio.
const archiveProcess = {
  files: ['apps/api/src/files/archives/media-records.ts'],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          {
            regex: '^@graft/(kernels|worker|cli|peft-core(?!/media$))',
            message: 'the archive process may import only peft-core/media and contracts',
          },
        ],
      },
    ],
  },
};

// CLI commands start in 0.2 s because they do not load zod: they import modules of contracts that do not need it.
const cliStart = {
  files: ['apps/cli/src/**/*.ts'],
  ignores: ['apps/cli/src/mcp-tools.ts', '**/*.spec.ts'],
  rules: {
    '@typescript-eslint/no-restricted-imports': [
      'error',
      {
        paths: [
          {
            name: '@graft/contracts',
            allowTypeImports: true,
            message:
              'it loads zod: import the module that has this, such as @graft/contracts/duration',
          },
          { name: 'zod', allowTypeImports: true, message: 'commands must start without zod' },
        ],
      },
    ],
  },
};

const noDefaultExport = {
  selector: 'ExportDefaultDeclaration',
  message: 'No default exports: a thing has one name everywhere.',
};

export default tseslint.config(
  {
    ignores: [
      '**/node_modules/',
      '**/dist/',
      '**/bundle/',
      '**/dist-types/',
      '**/build/',
      '**/gen/',
      '.nx/',
      '.venv*/',
      '.cache/',
      '.graft/',
      '**/*.d.ts',
    ],
  },
  js.configs.recommended,
  ...tseslint.configs.strict,
  {
    plugins: { words: plainEnglish },
    rules: {
      'words/comments': 'error',
      'words/strings': 'error',
      'max-lines': ['error', { max: 400 }],
      'max-lines-per-function': ['error', { max: 80, skipComments: true, skipBlankLines: true }],
      'no-restricted-syntax': [
        'error',
        noDefaultExport,
        { selector: 'TSEnumDeclaration', message: 'No enums: a union of strings.' },
      ],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      '@typescript-eslint/consistent-type-imports': [
        'error',
        { fixStyle: 'inline-type-imports', disallowTypeAnnotations: false },
      ],
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'none' },
      ],
      '@typescript-eslint/no-non-null-assertion': 'off', // With noUncheckedIndexedAccess, it asserts that an index is in range.
      '@typescript-eslint/no-dynamic-delete': 'off',
      '@typescript-eslint/no-invalid-void-type': 'off',
      '@typescript-eslint/unified-signatures': 'off',
      '@typescript-eslint/no-extraneous-class': 'off', // NestJS modules are empty classes.
    },
  },
  ...projects,
  coreWithoutFiles,
  readerProcess,
  archiveProcess,
  cliStart,
  {
    // Decorators need the classes at run time.
    files: ['apps/api/**/*.ts'],
    rules: { '@typescript-eslint/consistent-type-imports': 'off' },
  },
  {
    files: ['**/*.spec.{ts,tsx,mjs}', 'test/**', 'apps/*/test/**'],
    rules: {
      'max-lines': ['error', { max: 500, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
  {
    // Vitest, Vite, ESLint and reporters require default exports.
    files: ['**/*.config.{ts,js}', 'tools/{count,log}-reporter.mjs'],
    rules: { 'no-restricted-syntax': 'off' },
  },
  {
    files: ['**/*.{mjs,cjs,js}'],
    languageOptions: {
      globals: Object.fromEntries(
        [
          'process',
          'console',
          'Buffer',
          'URL',
          'fetch',
          'AbortSignal',
          'AbortController',
          'performance',
          'setTimeout',
          'clearTimeout',
          'setInterval',
          'clearInterval',
          'TextDecoder',
          'TextEncoder',
          'structuredClone',
          'module',
          'require',
        ].map((name) => [name, 'readonly']),
      ),
    },
  },
);
