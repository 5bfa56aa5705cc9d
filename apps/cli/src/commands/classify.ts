import { basename } from 'node:path';
import type { Command } from 'commander';
import type { Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';
import { taggedText } from '@graft/contracts/tagged-text';
import { findModel, MODEL_HELP } from '../find/find-model.js';
import { callOf } from '../command-line/command-line.js';
import { ofFiles } from '../requests/media-files.js';
import { printable, table } from '../output/terminal.js';

type Answer = Readonly<Record<string, unknown>>;

export function addClassify(program: Command): void {
  program
    .command('classify')
    .description('Classify text, images or audio with a trained model')
    .argument('<model>', MODEL_HELP)
    .argument('[text...]', "texts, or JSON objects with the input fields of the task's records")
    .option('--image <file...>', 'image files, if the model was trained on images')
    .option('--audio <file...>', 'WAV or FLAC files, if the model was trained on audio')
    .action(async (name: string, texts: string[], options: Options, command: Command) => {
      const { out, api } = callOf(command);
      const media = [...(options.image ?? []), ...(options.audio ?? [])];
      if (texts.length + media.length === 0)
        throw new CliError('specify a text, --image FILE or --audio FILE', EXIT.usage); // prettier-ignore
      const model = await findModel(api(), name);
      const data = [
        ...(texts.length > 0 ? await labelled(api(), { model, input: texts.map(inputOf) }) : []),
        ...(await ofFiles<Answer>(api(), '/classify', model, media)),
      ].map((answer, index) => ({ ...answer, index }));
      if (out.json) return out.value(data);
      const named = [...texts, ...media.map((path) => basename(path))];
      const rows = data.map((answer, i) => [printable(named[i] ?? ''), ...cellsOf(answer)]);
      out.line(table(['INPUT', 'ANSWER', 'PROBABILITY'], rows, { width: out.width }));
    });
}

interface Options {
  readonly image?: readonly string[];
  readonly audio?: readonly string[];
}

const labelled = async (api: Api, body: Parameters<Api['post']>[1]): Promise<readonly Answer[]> =>
  (await api.post<{ data: readonly Answer[] }>('/classify', body)).data;

function inputOf(text: string): unknown {
  if (!text.trimStart().startsWith('{')) return text;
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const reason = error instanceof Error ? error.message : '';
    throw new CliError(`${text.slice(0, 60)} is not valid JSON: ${reason}`, EXIT.usage);
  }
}

/** Cells of an answer: a label with its probability, several labels, a score, tagged words or a text span. Other answers are printed as JSON. */
function cellsOf({ index: _index, ...answer }: Answer): string[] {
  const { label, labels, value, probs, answer: found, score } = answer;
  if (typeof value === 'number') return [value.toFixed(4), ''];
  if (typeof found === 'string' && typeof score === 'number')
    return [printable(found) || 'none', `score ${score.toFixed(3)}`];
  const tagged = taggedText(answer);
  if (tagged !== null) return [printable(tagged), ''];
  if (Array.isArray(labels)) return [printable(labels.join(', ')) || 'none', ''];
  if (typeof label !== 'string' || !Array.isArray(probs))
    return [printable(JSON.stringify(answer)), ''];
  const most = Math.max(...(probs as number[]));
  return [printable(label), most.toFixed(3)];
}
