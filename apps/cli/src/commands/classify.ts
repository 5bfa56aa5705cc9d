import type { Command } from 'commander';
import { CliError, EXIT } from '../cli-error.js';
import { taggedText } from '@graft/contracts/tagged-text';
import { callOf } from '../command-line.js';
import { printable, table } from '../terminal.js';

type Answer = Readonly<Record<string, unknown>>;

export function addClassify(program: Command): void {
  program
    .command('classify')
    .description('what a model that was trained to label says of texts; --json prints all of it')
    .argument('<model>')
    .argument('<text...>', "texts, or JSON objects of what the task's records have besides labels")
    .action(async (model: string, texts: string[], _options: object, command: Command) => {
      const { out, api } = callOf(command);
      const input = texts.map(inputOf);
      const { data } = await api().post<{ data: readonly Answer[] }>('/classify', {
        model,
        input,
      });
      if (out.json) return out.value(data);
      const rows = data.map((answer, i) => [printable(texts[i] ?? ''), ...inWords(answer)]);
      out.line(table(['TEXT', 'ANSWER', 'PROBABILITY'], rows, out.width));
    });
}

function inputOf(text: string): unknown {
  if (!text.trimStart().startsWith('{')) return text;
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const reason = error instanceof Error ? error.message : '';
    throw new CliError(`${text.slice(0, 60)} begins as JSON and is none: ${reason}`, EXIT.usage);
  }
}

/** A label with its probability, several, a measure, tagged words, or part of a text; what else tasks say as it is. */
function inWords({ index: _index, ...answer }: Answer): string[] {
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
