import { basename } from 'node:path';
import type { ErrorBody, TranscriptionEvent } from '@graft/contracts';
import { serverEvents } from '@graft/contracts/sse';
import { Option, type Command } from 'commander';
import { blobOf, type Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';
import { findModel } from '../find/find-model.js';
import { callOf } from '../command-line/command-line.js';
import { decimal } from '../command-line/parse-number.js';
import { printable, type Output } from '../output/terminal.js';

interface Options {
  readonly model: string;
  readonly language?: string;
  readonly prompt?: string;
  readonly temperature?: number;
  readonly format: (typeof FORMATS)[number];
}

/** Output formats. Only text is streamed. */
const FORMATS = ['text', 'srt', 'vtt', 'verbose_json'] as const;

export function addTranscribe(program: Command): void {
  program
    .command('transcribe')
    .description('Transcribe audio (WAV, FLAC)')
    .argument('<file...>')
    .requiredOption('--model <model>', 'model for transcription, or job that made it')
    .option('--language <code>', 'language of the audio, such as en')
    .option('--prompt <text>', 'preceding text, such as names and spellings')
    .option('--temperature <number>', 'sampling temperature; 0 is greedy', decimal)
    .addOption(
      new Option('--format <format>', 'output format; srt, vtt and verbose_json have timestamps')
        .choices(FORMATS)
        .default('text'),
    )
    .action(async (files: string[], options: Options, command: Command) => {
      const { out, api } = callOf(command);
      const model = await findModel(api(), options.model);
      const found: object[] = [];
      try {
        for (const path of files) {
          const form = await formOf(path, { ...options, model });
          if (!out.json && files.length > 1) out.note(`${printable(basename(path))}:`);
          found.push({ file: path, ...(await transcribed(api(), form, options.format, out)) });
        }
      } finally {
        // Print the finished transcripts even if a later file fails.
        if (out.json && found.length > 0) out.value(files.length === 1 ? found[0] : found);
      }
    });
}

async function formOf(path: string, options: Options): Promise<FormData> {
  const form = new FormData();
  for (const name of ['model', 'language', 'prompt', 'temperature'] as const)
    if (options[name] !== undefined) form.set(name, String(options[name]));
  form.set('file', await blobOf(path), basename(path));
  return form;
}

/** Transcribes one file and returns its JSON result. Prints the transcript unless --json is set. */
async function transcribed(
  api: Api,
  form: FormData,
  format: Options['format'],
  out: Output,
): Promise<object> {
  if (format === 'text') return streamed(api, form, out);
  form.set('response_format', format);
  const answer = await api.raw('POST', '/audio/transcriptions', { body: form });
  const text = await answer.text();
  if (!out.json) process.stdout.write(`${printable(text.trimEnd())}\n`);
  return format === 'verbose_json' ? (JSON.parse(text) as object) : { [format]: text };
}

async function streamed(api: Api, form: FormData, out: Output): Promise<object> {
  form.set('stream', 'true');
  const answer = await api.raw('POST', '/audio/transcriptions', { body: form });
  if (answer.body === null) throw new Error('response has no body');
  for await (const { data } of serverEvents(answer.body)) {
    if (data === '[DONE]') break;
    const event = JSON.parse(data) as TranscriptionEvent | ErrorBody;
    if ('error' in event) throw new Error(event.error.message);
    if (event.type === 'transcript.text.done') {
      if (!out.json) process.stdout.write('\n');
      return { text: event.text, usage: event.usage };
    }
    if (!out.json) process.stdout.write(printable(event.delta));
  }
  throw new CliError(
    'the connection was lost before the transcript was complete; try again',
    EXIT.unreachable,
  );
}
