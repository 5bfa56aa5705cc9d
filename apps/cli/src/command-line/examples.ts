/** Examples in the `--help` of a command, by its name after `graft`. */
export const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  up: ['graft up', 'graft up --port 9000', 'graft up --example'],
  submit: [
    'graft submit --model MODEL --train data.jsonl --watch',
    'graft submit -m MODEL -t data.csv --map text=message --map label=category',
    'graft submit -m MODEL -t data.jsonl --method dora --set peft.r=8 --dry-run',
  ],
  jobs: ['graft jobs', 'graft jobs my-job', 'graft jobs --state failed --sort created_at'],
  branch: ['graft branch my-job@best --epochs 2', 'graft branch my-job@40 --set peft.r=8'],
  'sweeps create': [
    'graft sweeps create --model MODEL --train data.jsonl --methods',
    'graft sweeps create -m MODEL -t data.jsonl --vary peft.r=8,16,64',
    'graft sweeps create -m MODEL -t data.jsonl --vary graft.learning_rate=5e-5..2e-3:log',
  ],
  'files upload': [
    'graft files upload data.jsonl',
    'graft files upload table.csv --map prompt=question --map completion=answer',
    'graft files upload pets/',
  ],
  'models import': [
    'graft models import hub:HuggingFaceTB/SmolLM2-135M-Instruct',
    'graft models import ./my-model --id my-model',
  ],
  'adapters upload': ['graft adapters upload ./my-lora --base MODEL'],
  compare: ['graft compare job-a job-b'],
  chat: ['graft chat MODEL', 'graft chat my-job@best "Summarize this: ..." --temperature 0.7'],
  classify: ['graft classify MODEL "Free money"', 'graft classify MODEL --image cat.png dog.png'],
  embed: ['graft embed MODEL "first text" "second text"'],
  transcribe: ['graft transcribe talk.wav --model MODEL --format srt'],
  download: ['graft download my-job', 'graft download my-job --step 40 --out adapter'],
  export: [
    'graft export my-job --format merged',
    'graft export MODEL --format gguf --quantization Q4_K_M',
    'graft export MODEL --push-to OWNER/NAME --private',
  ],
  combine: ['graft combine job-a job-b --weights 0.7,0.3 --watch'],
  'evals run': [
    'graft evals run my-eval --model MODEL --items items.jsonl --ask "In capitals: {{item.word}}"',
  ],
  'members add': ['graft members add ada --role owner --key'],
  'projects create': ['graft projects create research --limit running_jobs=4'],
  'webhooks create': ['graft webhooks create slack https://example.com/hook'],
  'admin backup': ['graft admin backup /mnt/backup'],
};

export const examplesText = (examples: readonly string[]): string =>
  `\nExamples:\n${examples.map((example) => `  $ ${example}`).join('\n')}`;
