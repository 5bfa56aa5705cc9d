// docs/reference/configuration.md, from the options of the programs.
import { cell, code, page, table } from './markdown.mjs';

/** Environment variables that no program has an option for: reader, name, default, meaning. */
const OTHER_VARIABLES = [
  [
    'API',
    '`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_HEADERS`, `OTEL_EXPORTER_OTLP_TIMEOUT`, `OTEL_EXPORTER_OTLP_COMPRESSION`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_EXPORTER`, `OTEL_SDK_DISABLED` and others of OpenTelemetry',
    '',
    'Collector that [traces](../guides/operations.md#traces) of jobs are sent to',
  ],
  [
    'API',
    '`GRAFT_S3_PATH_STYLE=1`',
    '',
    'Puts the bucket name into the path of S3 URLs, as MinIO and rclone expect it',
  ],
  ['API', '`GRAFT_LOG_FILE`', 'stderr', 'File that the log is appended to'],
  [
    'worker, tests',
    '`GRAFT_ISA`',
    'best available',
    "Best instruction set that Graft's kernels and libtorch may use: `generic`, `avx2`, `avx512`, `avx512bf16` or `amx`. Checkpoints record it. `amx` is opt-in; see [ADR 0027](../adr/0027-amx-is-opt-in.md)",
  ],
  [
    'worker, tests',
    '`GRAFT_OWN_KERNELS`',
    '',
    "`0`: compositions of libtorch's operators instead of Graft's kernels, to test those. `1`: Graft's kernels on GPUs too, where they have not run yet",
  ],
  [
    'set-up',
    '`LIBTORCH`',
    'found or fetched',
    'Folder of a libtorch from 2.6 on (`include/`, `lib/`) to build the kernels with',
  ],
  [
    'set-up',
    '`GRAFT_CUDA`',
    'whether `nvidia-smi -L` lists a GPU',
    "`1` or `0`: build the kernels with a CUDA or a CPU build of libtorch. The CUDA build comes from PyPI (3.6 GB unpacked). Graft's CUDA kernels also need nvcc (`CUDA_HOME`, `PATH` or PyPI)",
  ],
  [
    'set-up',
    '`GRAFT_CACHE`',
    '`$XDG_CACHE_HOME/graft`, otherwise `~/.cache/graft`',
    'Cache that all clones of a user share: libtorch (0.5 GB unpacked), nvcc, compiled kernels (at most 256 MB). You can delete it at any time. `0`: no cache',
  ],
  [
    'tests',
    '`GRAFT_FETCH_NVCC`',
    '',
    '`1`: the test that compiles the CUDA kernels fetches nvcc from PyPI (250 MB unpacked) if it is missing. Otherwise the test is skipped',
  ],
  [
    'example',
    '`GRAFT_EXAMPLE_BASE`',
    'see README',
    'Another base model: `dir:FOLDER`, `hub:OWNER/NAME` or `dir:FILE.gguf`',
  ],
  [
    'example',
    '`npm_config_registry`, `PIP_INDEX_URL`',
    'public registries',
    "Registries of the example's data and base model",
  ],
  [
    'example',
    '`GRAFT_DEBIAN_MIRROR`',
    '`https://deb.debian.org/debian`',
    'Mirror of the data of `--example images` and `--example audio`',
  ],
  ['CLI', '`GRAFT_DEBUG`', 'off', 'Prints a stack trace with an unexpected error'],
];

export async function configurationPage() {
  const { SETTINGS } = await import('../../apps/cli/dist/config/settings.js');
  const { API_OPTIONS } = await import('../../apps/api/dist/options.js');
  const { WORKER_OPTIONS } = await import('../../apps/worker/dist/agent/options.js');
  const inFile = new Set(SETTINGS.filter((one) => one.inFile).map((one) => one.key));
  const meaning = ({ text, more }) =>
    text[0].toUpperCase() + text.slice(1) + (more ? `. ${more}` : '');
  /** NAME=VALUE as `NAME` = VALUE. */
  const variable = (env) => (env === null ? '' : env.replace(/^\w+/, code).replace('=', ' = '));
  const rows = (options, isInFile) =>
    options.map((one) => [
      code(`--${one.flag}`),
      variable(one.env),
      isInFile(one.flag) ? code(one.flag.replaceAll('-', '_')) : '',
      cell(one.default ?? ''),
      cell(meaning(one)),
    ]);
  const columns = ['flag', 'environment', 'in `graft.json`', 'default', 'meaning'];
  const api = new Set(API_OPTIONS.map((one) => one.flag));
  const cli = SETTINGS.filter(({ key }) => !api.has(key)).map(({ key, env, description }) => {
    const worker = WORKER_OPTIONS.find((one) => one.env === env);
    return { flag: key, env, default: worker?.default ?? null, text: description };
  });
  return page(
    'Configuration',
    'A flag takes precedence over the environment, the environment over the file `graft.json` in `GRAFT_HOME` (a JSON object), and the file over the default.',
    '## CLI and `graft up`',
    '`graft up` also accepts the options of the API that are in `graft.json`. It passes the environment on to the API and the worker.',
    table(
      columns,
      rows(cli, (flag) => inFile.has(flag)),
    ),
    '## API',
    'Options of `node apps/api/bundle/main.js` (graft-api). `--help` lists its commands.',
    table(
      columns,
      rows(API_OPTIONS, (flag) => inFile.has(flag)),
    ),
    '## Worker',
    'Options of `graft-worker`. `graft up` starts one worker itself.',
    table(
      columns.filter((name) => !name.includes('graft.json')),
      rows(WORKER_OPTIONS, () => false).map((cells) => cells.filter((_, i) => i !== 2)),
    ),
    '## Other variables',
    table(['read by', 'variable', 'default', 'meaning'], OTHER_VARIABLES),
    '## Shell completion',
    '`graft completion bash`, `zsh` and `fish` print a script that completes commands, options and choices.',
    "```sh\necho 'source <(graft completion bash)' >> ~/.bashrc      # with the package bash-completion\necho 'source <(graft completion zsh)' >> ~/.zshrc\ngraft completion fish > ~/.config/fish/completions/graft.fish\n```",
  );
}
